"""Admission: every kind of bad update is refused for its own reason, and honest ones pass."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nima.safe_io.files import sha256_of
from nima.wire.jobs import PROTOCOL, Job, JobResult
from nima.wire.plan import TrainingPlan
from nima.wire.updates import encode_update, max_update_bytes, schema_of
from requestor.backends.base import Outcome, Provider, Task
from requestor.records.round_record import OutcomeEntry, RoundEntry
from requestor.training.providers.verdict import Verdict
from requestor.training.rounds.admission import Admission, AdmissionHistory
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
    verdict, values = (admission or Admission(WEIGHTS)).judge(outcome, SAMPLES)
    assert (values is not None) == verdict.admitted
    return verdict


def claiming(outcome: Outcome, **claims: Any) -> Outcome:
    assert outcome.result is not None
    return dataclasses.replace(outcome, result=dataclasses.replace(outcome.result, **claims))


def test_an_honest_update_is_admitted_with_its_norm(tmp_path: Path) -> None:
    change = delta()
    verdict, values = Admission(WEIGHTS).judge(arrival(tmp_path, change), SAMPLES)
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


@pytest.mark.parametrize(("size", "kind"), [(0.5, "implausible"), (2e-5, "implausible"), (0.03, "admitted")])
def test_the_norm_is_held_against_the_others(size: float, kind: str, tmp_path: Path) -> None:
    admission = Admission(WEIGHTS)
    for seed in range(3):
        assert judge(arrival(tmp_path, delta(seed), f"job-{seed}"), admission).admitted
    assert judge(arrival(tmp_path, delta(3, size)), admission).kind == kind


def test_work_that_came_faster_than_work_can_be_done(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS)
    for seed in range(3):
        judge(arrival(tmp_path, delta(seed), f"job-{seed}"), admission)
    verdict = judge(arrival(tmp_path, delta(3), seconds=SECONDS / 100), admission)
    assert verdict.kind == "implausible"
    assert "100 times as fast" in verdict.reason


def test_a_copy_of_another_ones_update(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS)
    assert judge(arrival(tmp_path, delta(1), "job-1"), admission).admitted
    assert judge(arrival(tmp_path, delta(1), "job-2"), admission).kind == "replay"
    assert judge(arrival(tmp_path, delta(2), "job-3"), admission).admitted


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


def test_norms_and_speeds_of_the_last_round_are_remembered(tmp_path: Path) -> None:
    first = judge(arrival(tmp_path, delta()))
    history = AdmissionHistory.of([line(first), line(dataclasses.replace(first, norm=7.0)), RoundEntry(3, False, ())])
    assert history.norms == (7.0,)
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
    admission = Admission(WEIGHTS, distance)
    verdicts = [judge(arrival(tmp_path, towards(-0.3 - i / 100), f"job-{i}"), admission) for i in range(6)]
    assert {verdict.kind for verdict in verdicts} == {"harmful"}
    assert judge(arrival(tmp_path, towards(0.3)), admission).admitted


def admit(admission: Admission, folder: Path, *amounts: float) -> None:
    for index, amount in enumerate(amounts):
        assert judge(arrival(folder, towards(amount), f"other-{index}"), admission).admitted


def test_what_chance_excuses_is_refused_where_it_goes_against_the_others(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS, distance)
    admit(admission, tmp_path, 0.4, 0.3, 0.35)
    verdict = judge(arrival(tmp_path, towards(-0.011)), admission)
    assert verdict.kind == "harmful"
    assert "goes against the others" in verdict.reason


def test_what_came_first_is_looked_at_again_when_all_are_there(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS, distance)
    verdict, values = admission.judge(arrival(tmp_path, towards(-0.011)), SAMPLES)
    assert verdict.admitted
    assert values is not None
    admit(admission, tmp_path, 0.04, 0.03, 0.035)
    again = admission.look_again(verdict, MemoryUpdate(values, SAMPLES), [verdict.norm, 0.04, 0.03, 0.035])
    assert again.kind == "harmful"
    assert (again.norm, again.emd, again.content) == (verdict.norm, verdict.emd, verdict.content)


def test_an_honest_minority_that_goes_against_the_others_is_believed(tmp_path: Path) -> None:
    admission = Admission(WEIGHTS, distance)
    admit(admission, tmp_path, -0.01, -0.011, -0.012)
    verdict, values = admission.judge(arrival(tmp_path, towards(0.02)), SAMPLES)
    assert verdict.admitted
    assert values is not None
    assert admission.look_again(verdict, MemoryUpdate(values, SAMPLES), [verdict.norm]).admitted


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
