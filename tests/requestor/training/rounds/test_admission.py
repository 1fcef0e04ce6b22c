"""Admission: every kind of bad update is refused for its own reason, and honest ones pass."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nima.safe_io.files import sha256_of
from nima.wire.jobs import PROTOCOL, Job, JobResult
from nima.wire.plan import TrainingPlan
from nima.wire.updates import encode_update, max_update_bytes, schema_of
from requestor.backends.base import Outcome, Provider, Task
from requestor.records.round_record import OutcomeEntry, RoundEntry
from requestor.training.providers.verdict import Verdict
from requestor.training.rounds.admission import Admission, AdmissionHistory, Candidate
from requestor.training.rounds.aggregation import MemoryUpdate
from requestor.training.rounds.gate import Gate

WEIGHTS = {"head.weight": torch.linspace(-1, 1, 20).view(10, 2), "head.bias": torch.zeros(10)}
PLAN = TrainingPlan(10, 4, 0.1, 0.1, 0.9, 0.0, trainable_blocks=0, seed=0, augment=False)
SAMPLES = 40
SECONDS = 20.0


def delta(seed: int = 0, size: float = 0.01) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: size * torch.randn(values.shape, generator=random) for name, values in WEIGHTS.items()}


def arrival(folder: Path, change: dict[str, torch.Tensor], name: str = "job", seconds: float = SECONDS) -> Outcome:
    """Returns the outcome of a provider that changed the weights by `change`."""
    path = folder / f"{name}.safetensors"
    encode_update(path, WEIGHTS, {key: values + change[key] for key, values in WEIGHTS.items()}, seed=0)
    return came(path, name, seconds)


def came(path: Path, name: str = "job", seconds: float = SECONDS) -> Outcome:
    job = Job(PROTOCOL, "train", name, "mobilenet_v2", "/", "0" * 64, ("1" * 64,), PLAN, 0)
    result = JobResult(
        PROTOCOL, name, "train", True, None, SAMPLES, 0.9 * seconds, 0.1, "update.safetensors", sha256_of(path)
    )
    task = Task(job, (), None, 60.0, max_update_bytes(schema_of(WEIGHTS)))
    return Outcome(task, Provider("0x1", "bold-fox"), result, path, seconds=seconds)


def judge(outcome: Outcome, admission: Admission | None = None) -> Verdict:
    """Judges an update that is the only one of its round."""
    return judge_all([outcome], admission)[0]


def judge_all(outcomes: Sequence[Outcome], admission: Admission | None = None) -> list[Verdict]:
    """Judges the updates of a round."""
    admission = admission or Admission(WEIGHTS)
    first = [(outcome, *admission.read(outcome, SAMPLES)) for outcome in outcomes]
    candidates = [
        Candidate(outcome.task, verdict, MemoryUpdate(values, SAMPLES), SAMPLES / outcome.seconds)
        for outcome, verdict, values in first
        if values is not None
    ]
    final = iter(admission.judge(candidates))
    return [verdict if values is None else next(final) for _, verdict, values in first]


def claiming(outcome: Outcome, **claims: Any) -> Outcome:
    assert outcome.result is not None
    return dataclasses.replace(outcome, result=dataclasses.replace(outcome.result, **claims))


def test_an_honest_update_is_admitted_with_its_norm(tmp_path: Path) -> None:
    change = delta()
    verdict, values = Admission(WEIGHTS).read(arrival(tmp_path, change), SAMPLES)
    assert verdict.kind == "admitted"
    expected = torch.cat([change["head.weight"].flatten(), change["head.bias"]]).numpy()
    np.testing.assert_allclose(values, expected, rtol=0, atol=abs(expected).max() / 127)
    assert math.isclose(verdict.norm, float(np.linalg.norm(expected)), rel_tol=1e-2)


@pytest.mark.parametrize(
    ("claims", "kind", "reason"),
    [
        ({"job_id": "another"}, "malformed", "another job"),
        ({"kind": "evaluate"}, "malformed", "another job"),
        ({"samples": 4000}, "implausible", "claims 4000 samples of 40"),
        ({"samples": 4}, "implausible", "claims 4 samples of 40"),
        ({"seconds": 500.0}, "implausible", "500 s of work in the 20 s"),
        ({"output_sha256": "0" * 64}, "malformed", "not the one that its result names"),
    ],
)
def test_claims_that_cannot_be_true(claims: dict[str, Any], kind: str, reason: str, tmp_path: Path) -> None:
    verdict = judge(claiming(arrival(tmp_path, delta()), **claims))
    assert verdict.kind == kind
    assert reason in verdict.reason


def test_nothing_came(tmp_path: Path) -> None:
    outcome = dataclasses.replace(arrival(tmp_path, delta()), result=None, output=None, error="it hung")
    assert judge(outcome) == Verdict("no update", "it hung")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("a-pickle-was-loaded"),))


def oversized(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2 * 2**30)  # sparse: reading it would take 2 GB of memory


def with_more(path: Path) -> None:
    save_file({**load_file(path), "more": torch.zeros(1)}, path)


def with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        tensors = load_file(path)
        tensors[name] = change(tensors[name]).contiguous()
        save_file(tensors, path)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"\x00garbage" * 9), "no safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "no safetensors file"),
        (lambda path: path.write_bytes(pickle.dumps(Trap())), "no safetensors file"),
        (lambda path: path.write_bytes(b""), "no safetensors file"),
        (oversized, "larger than"),
        (with_tensor("head.bias", lambda values: values[:5]), "instead of"),
        (with_tensor("head.bias", lambda values: values.float()), "instead of"),
        (with_tensor("scales", lambda values: values * math.nan), "not finite"),
        (with_tensor("scales", lambda values: values * math.inf), "not finite"),
        (with_more, "unknown"),
    ],
    ids=["garbage", "truncated", "pickle", "empty", "oversized", "shape", "type", "nan", "infinite", "unknown"],
)
def test_a_file_that_is_not_an_update(
    spoil: Callable[[Path], Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = arrival(tmp_path, delta())
    assert outcome.output is not None
    spoil(outcome.output)
    # The hash is that of the spoilt file: only the content shows that it is bad.
    outcome = claiming(outcome, output_sha256="f" * 64 if spoil is oversized else sha256_of(outcome.output))
    verdict = judge(outcome)
    assert verdict.kind == "malformed"
    assert reason in verdict.reason
    assert not Path("a-pickle-was-loaded").exists()


def test_no_work(tmp_path: Path) -> None:
    zero = {name: torch.zeros_like(values) for name, values in WEIGHTS.items()}
    assert judge(arrival(tmp_path, zero)).kind == "no work"


def test_a_step_beyond_any_training(tmp_path: Path) -> None:
    verdict = judge(arrival(tmp_path, delta(size=100.0)))
    assert verdict.kind == "implausible"
    assert "norm" in verdict.reason


@pytest.mark.parametrize(("scale", "kind"), [(50.0, "outlier"), (2e-3, "outlier"), (3.0, "admitted")])
@pytest.mark.parametrize("root", [None, lambda: flat(delta(9))], ids=["the median", "the root"])
def test_the_norm_is_compared(scale: float, kind: str, root: Any, tmp_path: Path) -> None:
    others = [arrival(tmp_path, near(delta(9), seed, 0.001), f"job-{seed}") for seed in range(3)]
    verdicts = judge_all([arrival(tmp_path, near(delta(9), 3, 0.001, scale)), *others], Admission(WEIGHTS, root=root))
    assert [verdict.kind for verdict in verdicts] == [kind, *["admitted"] * 3]


def test_a_majority_of_small_updates_makes_nobody_an_outlier(tmp_path: Path) -> None:
    """Framing: the hostile majority sends a twentieth of honest work, so that the median is theirs."""
    honest = [arrival(tmp_path, near(delta(9), seed, 0.01), f"honest-{seed}") for seed in range(3)]
    small = [arrival(tmp_path, near(delta(9), seed, 0.01, 0.05), f"small-{seed}") for seed in range(3, 8)]
    verdicts = judge_all([*small, *honest], Admission(WEIGHTS, root=lambda: flat(delta(9))))
    assert [verdict.kind for verdict in verdicts] == ["outlier"] * 5 + ["admitted"] * 3


def test_an_update_against_the_root_is_refused(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS, root=lambda: flat(delta(9)))
    flipped = {name: -values for name, values in delta(9).items()}
    verdicts = judge_all([arrival(tmp_path, flipped), arrival(tmp_path, near(delta(9), 1, 0.01), "other")], admission)
    assert [verdict.kind for verdict in verdicts] == ["outlier", "admitted"]
    assert "against this machine's own update (cosine -1.00)" in verdicts[0].reason


def flat(change: dict[str, torch.Tensor]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([values.flatten().numpy() for values in change.values()])


def near(change: dict[str, torch.Tensor], seed: int, size: float, scale: float = 1.0) -> dict[str, torch.Tensor]:
    other = delta(seed, size)
    return {name: scale * (values + other[name]) for name, values in change.items()}


def test_work_that_came_faster_than_work_can_be_done(tmp_path: Path) -> None:
    others = [arrival(tmp_path, delta(seed), f"job-{seed}") for seed in range(3)]
    verdicts = judge_all([arrival(tmp_path, delta(3), seconds=SECONDS / 100), *others])
    assert [verdict.kind for verdict in verdicts] == ["outlier", *["admitted"] * 3]
    assert "100 times as fast" in verdicts[0].reason


def test_copies_are_nobodys_if_nothing_can_be_computed_again(tmp_path: Path) -> None:
    outcomes = [arrival(tmp_path, delta(seed), f"job-{number}") for number, seed in enumerate([1, 1, 2])]
    assert [verdict.kind for verdict in judge_all(outcomes)] == ["outlier", "outlier", "admitted"]


class AuditThatKnows:
    """Knows the update of one task, and finds every other one false."""

    def __init__(self, job_id: str, change: dict[str, torch.Tensor]) -> None:
        self._job_id = job_id
        self._norm = float(np.linalg.norm(flat(change)))

    def check(self, outcome: Outcome, update: Any) -> str | None:
        return "segment 4 ends elsewhere" if outcome.task.job.job_id == "caught" else None

    def repeat_all(self, task: Task, update: Any) -> str | None:
        assert math.isclose(float(np.linalg.norm(flat(update))), self._norm, rel_tol=1e-3)
        return None if task.job.job_id == self._job_id else "it is another's"


def test_of_copies_the_one_that_the_training_gives_is_admitted(tmp_path: Path) -> None:
    outcomes = [arrival(tmp_path, delta(1), name) for name in ("copy", "original")]
    verdicts = judge_all(outcomes, Admission(WEIGHTS, audit=AuditThatKnows("original", delta(1))))
    assert [verdict.kind for verdict in verdicts] == ["replay", "admitted"]


def test_a_training_that_ends_elsewhere_when_it_is_repeated_is_false(tmp_path: Path) -> None:
    verdict = judge(arrival(tmp_path, delta(1), "caught"), Admission(WEIGHTS, audit=AuditThatKnows("", delta(1))))
    assert (verdict.kind, verdict.reason) == ("false", "segment 4 ends elsewhere")
    assert verdict.content is not None


@given(st.permutations(range(9)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_verdict_depends_on_the_order_of_arrival(tmp_path: Path, order: list[int]) -> None:
    """The same answers in any order get the same verdicts, whatever they are."""
    honest = [near(delta(9), seed, 0.01) for seed in range(4)]
    changes = [
        *honest, honest[0], near(delta(9), 5, 0.01, 0.05), {name: -values for name, values in delta(9).items()},
        near(delta(9), 7, 0.01, 20.0), towards(-0.4),
    ]  # fmt: skip
    outcomes = [arrival(tmp_path, change, f"job-{number}") for number, change in enumerate(changes)]
    admission = Admission(WEIGHTS, distance, root=lambda: flat(delta(9)))
    verdicts = judge_all([outcomes[index] for index in order], admission)
    by_job = [verdicts[order.index(index)] for index in range(9)]
    # Copies, honest ones, then too short, against the root, too long, and harmful.
    assert [verdict.admitted for verdict in by_job] == [False, True, True, True, *[False] * 5]
    assert by_job == judge_all(outcomes, admission)


def line(verdict: Verdict, moved: bool = True) -> RoundEntry:
    entry = OutcomeEntry(
        verdict.kind, verdict.reason, norm=verdict.norm, content=verdict.content, samples=SAMPLES, seconds=SECONDS
    )
    return RoundEntry(1, moved, (entry,))


@pytest.mark.parametrize(("moved", "kind"), [(True, "replay"), (False, "admitted")])
def test_an_older_rounds_update_is_stale_once_the_model_has_moved(moved: bool, kind: str, tmp_path: Path) -> None:
    first = judge(arrival(tmp_path, delta()))
    history = AdmissionHistory.of([line(first, moved), RoundEntry(2, False, ())])
    assert judge(arrival(tmp_path, delta()), Admission(WEIGHTS, history=history)).kind == kind


def test_speeds_of_the_last_round_are_remembered(tmp_path: Path) -> None:
    first = judge(arrival(tmp_path, delta()))
    history = AdmissionHistory.of([line(first), RoundEntry(3, False, ())])
    assert history.speeds == (SAMPLES / SECONDS,)


# The hold-out of the tests below: photos for which certain weights are best; EMD is the distance from them.
TARGET = np.linspace(0, 0.2, 64)


def distance(weights: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    bias = float(weights["head.bias"][0])
    return np.abs(TARGET + 0.5 - bias)


def towards(amount: float) -> dict[str, torch.Tensor]:
    change = delta(size=1e-4)
    change["head.bias"][0] = amount
    return change


@pytest.mark.parametrize(("amount", "kind"), [(0.4, "admitted"), (-0.4, "harmful"), (-0.01, "admitted")])
def test_the_gate_refuses_what_worsens_the_holdout(amount: float, kind: str, tmp_path: Path) -> None:
    verdict = judge(arrival(tmp_path, towards(amount)), Admission(WEIGHTS, distance))
    assert verdict.kind == kind
    assert math.isclose(verdict.emd, 0.6 - amount / 2, rel_tol=1e-3)


def test_the_gate_needs_no_honest_majority(tmp_path: Path) -> None:
    amounts = [*(-0.3 - i / 100 for i in range(6)), 0.3]
    outcomes = [arrival(tmp_path, towards(amount), f"job-{i}") for i, amount in enumerate(amounts)]
    verdicts = judge_all(outcomes, Admission(WEIGHTS, distance))
    assert [verdict.kind for verdict in verdicts] == ["harmful"] * 6 + ["admitted"]


def test_the_gate_refuses_a_model_that_breaks_down(tmp_path: Path) -> None:
    def broken(weights: Any) -> Any:
        return TARGET if float(weights["head.bias"][0]) == 0 else TARGET * math.nan

    assert judge(arrival(tmp_path, towards(0.4)), Admission(WEIGHTS, broken)).kind == "harmful"


@given(st.floats(-0.5, 0.5), st.integers(2, 200), st.sampled_from([0.1, 1.0]))
def test_the_gate_allows_for_the_choice_of_photos(growth: float, photos: int, spread: float) -> None:
    """The tolerance is two per cent, plus two standard errors over the photos, but at most a quarter."""
    random = np.random.default_rng(photos)
    noise = random.normal(0, spread, photos)

    def evaluate(weights: Any) -> Any:
        return np.full(photos, 1.0) + (growth + noise if float(weights["head.bias"][0]) else 0)

    change = np.zeros(30)
    change[20] = 1.0
    emd, good = Gate(WEIGHTS, evaluate).try_step(change)
    mean = growth + noise.mean()
    assert math.isclose(emd, 1 + mean, rel_tol=1e-9)
    assert good == (mean <= 0.02 + min(2 * noise.std() / math.sqrt(photos), 0.25))
