"""Defines the messages between requestor and provider, a `Job` and a `JobResult`, as strict JSON.

On a provider a job is a folder with `job.json`, and `weights.safetensors` if the job names its hash. The program writes
beside them `result.json` (always, even if it failed) and its output: `update.safetensors` for a training,
`predictions.safetensors` for an evaluation, `features.safetensors` for an embedding. A training also leaves its states
at nine points between its ten segments, `state-1.safetensors` to `state-9.safetensors`, of which a requestor that wants
to compute a segment again takes two. Base models and shards lie in the store under the hash of their content:
`<sha256>.safetensors`.

Both sides distrust each other, so reading is strict: an unknown key, a wrong type or a number out of its range raises
`JobError`. Both sides must also be of the same version, because two versions may compute different results for the same
job, and nobody would notice. A job names the version that it needs, and a program of another version refuses it with
`VersionMismatch` before it does anything. This module needs the standard library only.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from nima.safe_io import (
    MAX_TEXT_LENGTH,
    FormatError,
    build_dataclass,
    check_range,
    check_types,
    one_line,
    parse_json_object,
    require,
)
from nima.version import VERSION
from nima.wire.plan import TrainingPlan

PROTOCOL = 4
"""The version of these messages; it is raised with every change that an older program cannot read."""

JOB_FILE = "job.json"
WEIGHTS_FILE = "weights.safetensors"
RESULT_FILE = "result.json"
UPDATE_FILE = "update.safetensors"
PREDICTIONS_FILE = "predictions.safetensors"
FEATURES_FILE = "features.safetensors"

MAX_RESULT_BYTES = 64 * 1024
"""The most bytes that are read of a `result.json` from a provider; an honest one has a few hundred."""

JobKind = Literal["train", "evaluate", "embed", "benchmark"]
KINDS: tuple[JobKind, ...] = typing.get_args(JobKind)

EXIT_VERSION_MISMATCH = 76
"""The exit code of the provider's program if it refuses a job of another version (EX_PROTOCOL of sysexits.h)."""

OUTPUT_FILES: dict[JobKind, str] = {"train": UPDATE_FILE, "evaluate": PREDICTIONS_FILE, "embed": FEATURES_FILE}
"""The file that a job of each kind writes beside its result; a benchmark writes none."""

MAX_STATES = 9
"""The most states that a training leaves; see `nima.training.commitments`."""


def state_file(number: int) -> str:
    """Returns the name of the file with a training's state after so many segments, 1 to `MAX_STATES`."""
    return f"state-{number}.safetensors"


_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class JobError(FormatError):
    """A text is not a valid job or result, or a provider reports that its job failed."""


class VersionMismatch(JobError):
    """A job or a result is of another version of this package; no retry and no other provider will help."""


@dataclass(frozen=True)
class Job:
    """One piece of work for one provider.

    protocol: version of the messages.
    kind: kind of the work.
    job_id: id of the job, 1 to 64 letters, digits, `-` or `_`.
    backbone: a name of `nima.model.backbones`; the base model must have this backbone.
    store: absolute path of the folder with the content-addressed files.
    base: sha256 of the base model, a checkpoint with the whole state.
    weights: sha256 of the `weights.safetensors` beside the job: current values of trained parameters, which replace
        those of the base; None if there is no such file.
    shards: sha256 of the shards to work on; a benchmark needs none.
    votes: sha256 of the file with the votes of each shard, in the same order; none if the job needs no votes, or if
        the shards hold them.
    plan: the plan of the training; None if nothing is trained.
    threads: number of torch's threads, 0 to 1024; 0 lets torch choose.
    version: version of this package, which must be the same on the provider.

    Raises `FormatError`, naming the field, if a field has a wrong type or value.
    """

    protocol: int
    kind: JobKind
    job_id: str
    backbone: str
    store: str
    base: str
    shards: tuple[str, ...]
    plan: TrainingPlan | None
    threads: int
    weights: str | None = None
    votes: tuple[str, ...] = ()
    version: str = VERSION

    def __post_init__(self) -> None:
        check_types(self)
        _check_protocol(self.protocol)
        _check_job_id(self.job_id)
        require(0 < len(self.backbone) <= 64, "backbone must be a name of at most 64 characters")
        require(self.store.startswith("/"), f"store must be an absolute folder, not {self.store!r}")
        _check_sha256("base", self.base)
        for sha256 in self.shards:
            _check_sha256("shards", sha256)
        for sha256 in self.votes:
            _check_sha256("votes", sha256)
        require(len(self.votes) in (0, len(self.shards)), "votes must name one file for each shard, or none")
        if self.weights is not None:
            _check_sha256("weights", self.weights)
        check_range("threads", self.threads, 0, 1024)
        require(self.kind != "train" or self.plan is not None, "a training job needs a plan")
        require(self.kind == "benchmark" or len(self.shards) > 0, f"a job of kind {self.kind} needs a shard")

    def to_json(self) -> str:
        """Returns the text of `job.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Job:
        """Reads a job. Raises `JobError` unless `text` is exactly one, `VersionMismatch` if of another version."""
        return _decode(Job, text, "job")


@dataclass(frozen=True)
class JobResult:
    """The result of a job, as the provider reports it: nothing here may be believed without a check.

    protocol: version of the messages.
    job_id: id of the job.
    kind: kind of the job; None if the program could not read its job.
    ok: True if the job succeeded.
    error: the reason why it failed, as printable text; None if it succeeded.
    samples: number of images that were predicted, embedded, timed, or trained on (an image counts once in each step).
    seconds: wall-clock time of the work itself, without the start of the program.
    loss: mean EMD over the last tenth of a training's steps; None for other kinds.
    output, output_sha256: name and SHA-256 of the output file beside the result; None if there is none.
    versions: versions of python, torch, torchvision and nima-golem, by name.
    states: SHA-256 of the file of each state that a training left, in order; a commitment, because the requestor asks
        for some of the files only afterwards.

    Raises `FormatError`, naming the field, if a field has a wrong type or value.
    """

    protocol: int
    job_id: str
    kind: JobKind | None
    ok: bool
    error: str | None
    samples: int = 0
    seconds: float = 0.0
    loss: float | None = None
    output: str | None = None
    output_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    states: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)
        _check_protocol(self.protocol)
        _check_job_id(self.job_id)
        require(self.ok == (self.error is None), "a result has an error exactly where it is not ok")
        # The requestor's terminal shows this text, so control characters and very long texts are refused.
        for text in (self.error or "", *self.versions, *self.versions.values()):
            require(
                len(text) <= MAX_TEXT_LENGTH and text.isprintable(),
                "a text of the result is not printable or too long",
            )
        require(len(self.versions) <= 16, "too many versions in the result")
        check_range("samples", self.samples, 0, 2**53)
        check_range("seconds", self.seconds, 0, 1e9)
        if self.loss is not None:
            check_range("loss", self.loss, 0, 1)
        require((self.output is None) == (self.output_sha256 is None), "output and output_sha256 go together")
        require(
            self.output in (None, *OUTPUT_FILES.values()),
            f"the output must be one of {', '.join(OUTPUT_FILES.values())}",
        )
        if self.output_sha256 is not None:
            _check_sha256("output_sha256", self.output_sha256)
        require(len(self.states) <= MAX_STATES, f"a result has at most {MAX_STATES} states")
        for sha256 in self.states:
            _check_sha256("states", sha256)

    def to_json(self) -> str:
        """Returns the text of `result.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> JobResult:
        """Reads a result. Raises `JobError` unless `text` is exactly one, `VersionMismatch` if of another version."""
        if len(text) > MAX_RESULT_BYTES:
            raise JobError(f"The result is longer than {MAX_RESULT_BYTES} characters.")
        return _decode(JobResult, text, "result")


T = TypeVar("T", Job, JobResult)


def _decode(cls: type[T], text: str, what: str) -> T:
    try:
        data = parse_json_object(text)
        # The version is checked first, because in another version all other fields may mean something else.
        _check_same_version(data, what, versioned=cls is Job)
        for name in ("shards", "votes", "states"):
            if isinstance(data.get(name), list):
                data[name] = tuple(data[name])
        if isinstance(data.get("plan"), dict):
            data["plan"] = build_dataclass(TrainingPlan, data["plan"])
        result: T = build_dataclass(cls, data)
        return result
    except VersionMismatch:
        raise
    except FormatError as error:
        raise JobError(f"This is not a valid {what}: {error}.") from None
    except (ValueError, RecursionError):
        raise JobError(f"This is not a valid {what}: it is not JSON.") from None


def named_version(protocol: object, version: object) -> str:
    """Returns a version as messages show it: `nima-golem 0.1.0 (protocol 2)`."""
    return f"nima-golem {one_line(str(version), 40)} (protocol {one_line(str(protocol), 20)})"


def _check_same_version(data: dict[str, Any], what: str, *, versioned: bool) -> None:
    """Checks the version; in a result only the protocol, because a result is not believed without checks anyway."""
    theirs, version = data.get("protocol"), data.get("version", "of no version") if versioned else VERSION
    if type(theirs) is not int:
        _check_protocol(theirs)
    if theirs != PROTOCOL or version != VERSION:
        asked = named_version(theirs, version) if versioned else f"protocol {theirs}"
        raise VersionMismatch(f"The {what} is of {asked}; this program is {named_version(PROTOCOL, VERSION)}.")


def _check_protocol(protocol: object) -> None:
    require(
        type(protocol) is int and protocol == PROTOCOL,
        f"it speaks protocol {one_line(repr(protocol), 20)} and this program {PROTOCOL}",
    )


def _check_job_id(job_id: str) -> None:
    require(_JOB_ID.fullmatch(job_id) is not None, "job_id must be 1 to 64 letters, digits, - or _")


def _check_sha256(name: str, value: str) -> None:
    require(_SHA256.fullmatch(value) is not None, f"{name} must be a sha256 in lower-case hexadecimal digits")
