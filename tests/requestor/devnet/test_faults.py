"""The effect of each fault on the files that a task writes, and the names of faults."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nima.safe_io.files import read_bounded, sha256_of
from nima.wire.features import decode_features, encode_features
from nima.wire.jobs import PROTOCOL, Job, JobError, JobResult
from nima.wire.plan import default_plan
from nima.wire.shards import write_shard
from nima.wire.updates import UpdateError, decode_update, encode_update
from nima.wire.votes import read_votes, write_votes
from requestor.devnet.faults.fault import Fault
from requestor.devnet.faults.files import OVERSIZED_BYTES, PICKLE_LOADED
from requestor.devnet.faults.kinds import KINDS, make_fault, parse_faults
from requestor.devnet.faults.work import ProgramRun
from requestor.devnet.network import NetworkOptions
from requestor.errors import DevnetError

ROOT = Path(__file__).parents[3]
# No rounding changes a row whose values are all zero or equally large.
DELTA = {"weight": torch.tensor([[0.5, -0.5], [0.125, 0.0]]), "bias": torch.tensor([2e-9, -2e-9])}
SCHEMA = {"weight": (2, 2), "bias": (2,)}


class Provider:
    """A provider with a fault, in a folder of its own below `home`, with one activity."""

    def __init__(self, home: Path, fault: str, name: str = "amber") -> None:
        self.fault = make_fault(fault, home / name)
        self.jobs = home / name / "activities" / "a1" / "vol-jobs"
        self.store = self.jobs.with_name("vol-store")
        self.jobs.mkdir(parents=True)
        self.store.mkdir()

    def run(self, write: Callable[[], None], *argv: str) -> None:
        async def execute() -> int:
            write()
            return 0

        work = ProgramRun(argv or ("/bin/true",), {"/golem/jobs": self.jobs, "/golem/store": self.store})
        assert asyncio.run(self.fault.run(work, execute)) == 0

    def train(self, job: str = "job", factor: float = 1.0) -> Path:
        """Writes an update and its result, as the provider program does. Returns the job's folder."""
        folder = self.jobs / job
        folder.mkdir()

        def write() -> None:
            update = folder / "update.safetensors"
            encode_update(update, {n: t * 0 for n, t in DELTA.items()}, {n: factor * t for n, t in DELTA.items()}, 0)
            result = JobResult(PROTOCOL, job, "train", True, None, output=update.name, output_sha256=sha256_of(update))
            (folder / "result.json").write_text(result.to_json())

        self.run(write)
        return folder


def delta(folder: Path) -> dict[str, torch.Tensor]:
    """Returns the update in a job's folder, after a check that it is the one that the result names."""
    result = JobResult.from_json((folder / "result.json").read_text())
    assert result.output_sha256 == sha256_of(folder / "update.safetensors")
    return decode_update(folder / "update.safetensors", SCHEMA)


# ---- values


@pytest.mark.parametrize(("fault", "factor"), [("", 1), ("flip", -1), ("scale", 100), ("zero", 0)])
def test_well_formed_lies(tmp_path: Path, fault: str, factor: float):
    for name, values in delta(Provider(tmp_path, fault).train()).items():
        torch.testing.assert_close(values, factor * DELTA[name], rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan", "is not finite"),
        ("wrong-shape", r"is torch.(int8|float32) \([34],.*\) instead of torch.(int8|float32) \([23],"),
        ("garbage", "it is no safetensors file"),
        ("truncated", "it is no safetensors file"),
        ("pickle", "it is no safetensors file"),
    ],
)
def test_malformed_updates_are_refused_for_what_they_are(tmp_path: Path, fault: str, reason: str):
    with pytest.raises(UpdateError, match=reason):
        delta(Provider(tmp_path, fault).train())


def test_the_first_update_is_sent_for_ever_by_stale(tmp_path: Path):
    provider = Provider(tmp_path, "stale")
    first, second = (delta(provider.train(job, factor)) for job, factor in (("one", 1.0), ("two", 3.0)))
    assert torch.equal(first["weight"], second["weight"])


def test_replay_sends_a_neighbours_update(tmp_path: Path):
    neighbour = Provider(tmp_path, "", "brave").train(factor=2.0)
    past = time.time() - 60
    os.utime(neighbour / "update.safetensors", (past, past))
    copied = Provider(tmp_path, "replay").train()
    assert (copied / "update.safetensors").read_bytes() == (neighbour / "update.safetensors").read_bytes()
    torch.testing.assert_close(delta(copied)["weight"], 2 * DELTA["weight"])


def test_label_flip_trains_on_reversed_votes(tmp_path: Path):
    provider = Provider(tmp_path, "label-flip")
    votes = np.arange(20).reshape(2, 10)
    shard = write_shard(provider.store, [7, 8], None, [b"\xff\xd8\xffa", b"\xff\xd8\xffb"])
    honest = write_votes(provider.store, [7, 8], votes)
    job_file = provider.jobs / "job" / "job.json"
    job_file.parent.mkdir()
    plan = default_plan(2, 0)
    job = Job(PROTOCOL, "train", "job", "resnet18", "/golem/store", 64 * "0", (shard.sha256,), plan, 1, votes=(honest,))
    job_file.write_text(job.to_json())
    trained_on = []

    def train() -> None:
        given = Job.from_json(job_file.read_text())
        assert given.shards == job.shards
        trained_on.extend(read_votes(provider.store / f"{name}.safetensors", np.array([7, 8])) for name in given.votes)

    provider.run(train, "python", "-m", "provider_image", "/golem/jobs/job/job.json")
    (read,) = trained_on
    assert read.tolist() == votes[:, ::-1].tolist()


def test_bad_features_are_those_of_other_photos(tmp_path: Path):
    provider = Provider(tmp_path, "bad-features")
    features = np.arange(6, dtype=np.float16).reshape(3, 2)
    ids = np.array([7, 8, 9])
    path = provider.jobs / "features.safetensors"
    provider.run(lambda: encode_features(path, ids, features))
    assert decode_features(path, ids, 2).tolist() == [[4, 5], [0, 1], [2, 3]]
    torch.testing.assert_close(delta(provider.train())["weight"], DELTA["weight"], rtol=1e-3, atol=0)


# ---- whole files, of any project


def output_of(tmp_path: Path, fault: str, content: bytes) -> Path:
    provider = Provider(tmp_path, fault)
    path = provider.jobs / "output.bin"
    provider.run(lambda: path.write_bytes(content) and None)
    return path


def test_an_honest_providers_files_are_left_alone(tmp_path: Path):
    assert output_of(tmp_path, "", b"content").read_bytes() == b"content"


def test_garbage_has_the_files_size(tmp_path: Path):
    garbage = output_of(tmp_path, "garbage", bytes(1000)).read_bytes()
    assert len(garbage) == 1000
    assert len(set(garbage)) > 100


def test_truncated_is_the_first_half(tmp_path: Path):
    assert output_of(tmp_path, "truncated", b"abcdef").read_bytes() == b"abc"


def test_oversized_takes_no_room(tmp_path: Path):
    about = output_of(tmp_path, "oversized", bytes(1000)).stat()
    assert about.st_size == OVERSIZED_BYTES == 2 * 1024**3
    assert about.st_blocks * 512 < 10**6


def test_a_pickle_ends_who_loads_it(tmp_path: Path):
    with pytest.raises(SystemExit, match=PICKLE_LOADED):
        pickle.loads(output_of(tmp_path, "pickle", b"x").read_bytes())


def test_zip_slip_points_out_of_its_folder(tmp_path: Path):
    names = zipfile.ZipFile(output_of(tmp_path, "zip-slip", b"x")).namelist()
    assert all(name.startswith(("../", "/")) for name in names)
    job = Provider(tmp_path, "zip-slip", "brave").train()
    with pytest.raises(JobError, match="the output must be"):
        JobResult.from_json((job / "result.json").read_text())


def test_only_what_the_program_wrote_is_altered(tmp_path: Path):
    provider = Provider(tmp_path, "garbage")
    sent, written = provider.store / "input.bin", provider.jobs / "result.json"
    sent.write_bytes(b"from the requestor")
    (provider.jobs / "link").symlink_to(ROOT / "pyproject.toml")
    before = sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    provider.run(lambda: written.write_text('{"answer": 42}') and None)
    assert sent.read_bytes() == b"from the requestor"
    assert b"answer" not in read_bounded(written, 100), "a result that stands alone is an output like any other"
    assert sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest() == before


def test_slow_takes_its_factor_longer(tmp_path: Path):
    provider = Provider(tmp_path, "slow:4")
    started = time.monotonic()
    provider.run(lambda: time.sleep(0.1))
    assert time.monotonic() - started >= 0.4


def test_hang_never_ends(tmp_path: Path):
    provider = Provider(tmp_path, "hang")

    async def wait() -> None:
        await asyncio.wait_for(provider.fault.run(ProgramRun(("x",), {}), lambda: asyncio.sleep(0, 0)), 0.2)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(wait())


# ---- names


def test_faults_go_to_the_last_providers_in_their_order():
    options = NetworkOptions("x", providers=6, faults="crash, scale:2,slow:2.5")
    assert [options.fault_of(index) for index in range(6)] == ["", "", "crash", "scale", "scale", "slow:2.5"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("explode", "no fault 'explode'; choose from crash, hang"),
        ("crash:0", "write crash or crash:2"),
        ("crash:two", "write crash or crash:2"),
        ("slow", "slow takes a factor from 1 to 1000"),
        ("slow:0.5", "slow takes a factor"),
        ("slow:nan", "slow takes a factor"),
        ("slow:4:2:1", "is no fault with a count"),
        ("flip,", "no fault ''"),
        ("flip:3,nan:4", "7 faults for 6 providers"),
    ],
)
def test_faults_that_there_are_not(text: str, complaint: str):
    with pytest.raises(DevnetError, match=complaint):
        NetworkOptions("x", providers=6, faults=text)


@given(st.lists(st.tuples(st.sampled_from([*KINDS, "slow:3"]), st.integers(1, 50)), max_size=5))
def test_counts_are_kept(faults: list[tuple[str, int]]):
    text = ",".join(f"{name}:{count}" for name, count in faults)
    assert parse_faults(text) == tuple(name for name, count in faults for _ in range(count))


def test_every_fault_has_its_row_in_the_documentation_and_a_word_in_the_help():
    rows = (ROOT / "docs" / "devnet.md").read_text()
    command = (ROOT / "requestor" / "commands" / "devnet.py").read_text()
    for name in (*KINDS, "slow:FACTOR"):
        assert f"| `{name}` |" in rows
        assert name in command
    assert all(issubclass(kind, Fault) and kind.__doc__ for kind in KINDS.values())


def test_a_result_that_names_another_file_is_not_touched(tmp_path: Path):
    provider = Provider(tmp_path, "garbage")

    def write() -> None:
        (provider.jobs / "output.bin").write_bytes(b"x")
        (provider.jobs / "result.json").write_text(json.dumps({"output": "other.bin", "output_sha256": "y"}))

    provider.run(write)
    assert json.loads((provider.jobs / "result.json").read_text())["output_sha256"] == "y"
