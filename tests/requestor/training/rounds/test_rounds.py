"""A federated round: what changes the model, what does not, and when it ends. Providers run in this process."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from simulated_backend import Behaviour, SimulatedBackend

from nima.safe_io.files import sha256_of
from nima.wire.jobs import PROTOCOL, JobResult
from nima.wire.plan import TrainingPlan
from nima.wire.updates import decode_weights, encode_update
from requestor.backends.base import Outcome, Provider, Task
from requestor.backends.closing import RoundLimits
from requestor.training.data.dataset import Client
from requestor.training.providers.bans import BanList
from requestor.training.providers.standing import Providers
from requestor.training.providers.verdict import Verdict
from requestor.training.rounds.admission import AdmissionHistory
from requestor.training.rounds.aggregation import AGGREGATION_RULES
from requestor.training.rounds.assignment import share_of_work
from requestor.training.rounds.round import RoundReport, RoundSettings, run_round

PLAN = TrainingPlan(5, 8, 0.1, 0.1, 0.9, 0.0, trainable_blocks=0, seed=0, augment=False)
SOON = RoundLimits(seconds=20, extension=10, grace=0.2)
ALL = RoundLimits(seconds=20, extension=10, grace=10)
VERY_SOON = RoundLimits(seconds=0.3, extension=0.3, grace=0.1)


def clients(*images: int) -> list[Client]:
    return [Client((f"{i:064x}",), (Path(f"{i:064x}.safetensors"),), (n,)) for i, n in enumerate(images)]


def number_of(task: Task) -> int:
    """Returns the client whose work a task is."""
    return int(task.job.job_id.split("-")[3])


class Answers:
    """Providers that answer with the update that the test sets, each under its own name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = itertools.count()

    def update(self, task: Task, values: Sequence[float], samples: int = 40, seconds: float = 5.0) -> Outcome:
        assert task.weights is not None
        received = decode_weights(task.weights, {"w": (len(values),)})
        path = self._folder / f"arrival-{next(self._count)}.safetensors"
        encode_update(path, received, {"w": received["w"] + torch.tensor(values)}, seed=0)
        result = JobResult(
            PROTOCOL, task.job.job_id, "train", True, None, samples, seconds, 0.25, "update.safetensors",
            sha256_of(path),
        )  # fmt: skip
        return Outcome(task, self.provider(task), result, path, seconds=seconds)

    @staticmethod
    def provider(task: Task) -> Provider:
        return Provider(f"0x{task.job.job_id}", f"provider-of-{task.job.job_id}")


def train_once(
    behave: Behaviour, weights: dict[str, torch.Tensor], folder: Path, images: Sequence[int], **options: Any
) -> tuple[RoundReport, list[Verdict]]:
    verdicts: list[Verdict] = []
    backend = options.pop("backend", None) or SimulatedBackend(behave)
    kept = ("rule", "limits", "audit", "keeps_updates")
    shared = {"limits": SOON} | {name: options.pop(name) for name in kept if name in options}
    settings = RoundSettings(clients(*images), PLAN, ("0" * 64, Path("base")), "mobilenet_v2", folder, **shared)

    async def run() -> RoundReport:
        return await run_round(
            settings, backend, options.pop("number", 1), weights,
            lambda outcome, verdict: verdicts.append(verdict), **options,
        )  # fmt: skip

    # A round that hangs fails the test; the time limit of the round is much lower.
    report = asyncio.run(asyncio.wait_for(run(), 60))
    return report, verdicts


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    (tmp_path / "rounds").mkdir()
    return tmp_path / "rounds"


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path)


def ones() -> dict[str, torch.Tensor]:
    return {"w": torch.ones(3)}


def test_the_model_moves_by_the_mean_weighed_by_assigned_samples(answers: Answers, rounds: Path) -> None:
    # Eight photos or more fill a batch; four photos make batches of four.
    async def behave(task: Task) -> Outcome:
        small = number_of(task) == 1
        return answers.update(task, [0.0, 0.3, 0.6] if small else [0.6, 0.3, 0.0], samples=20 if small else 40)

    weights = ones()
    report, _ = train_once(behave, weights, rounds, [100, 4])
    assert report.moved
    torch.testing.assert_close(weights["w"], torch.tensor([1.4, 1.3, 1.2]), atol=0.6 / 127, rtol=0)
    assert report.loss == 0.25
    assert report.admitted == 2
    assert list(rounds.iterdir()) == []
    assert list(rounds.parent.glob("arrival-*")) == []


def test_the_order_of_arrival_does_not_change_a_bit(answers: Answers, rounds: Path) -> None:
    def arriving(order: Sequence[int]) -> torch.Tensor:
        async def behave(task: Task) -> Outcome:
            await asyncio.sleep(0.05 * order.index(number_of(task)))
            return answers.update(task, np.random.default_rng(number_of(task)).normal(size=3).tolist())

        weights = ones()
        train_once(behave, weights, rounds, [8] * 3)
        return weights["w"]

    assert torch.equal(arriving([0, 1, 2]), arriving([2, 0, 1]))


def test_a_round_that_is_killed_and_done_again_asks_for_no_update_twice(answers: Answers, rounds: Path) -> None:
    asked: list[int] = []

    async def answer(task: Task) -> Outcome:
        asked.append(number_of(task))
        return answers.update(task, np.random.default_rng(number_of(task)).normal(size=3).tolist())

    async def die_with_the_last(task: Task) -> Outcome:
        if number_of(task) == 2:
            while len(list((rounds / "round-0001-updates").glob("*.json"))) < 2:
                await asyncio.sleep(0.01)
            raise KeyboardInterrupt
        return await answer(task)

    straight = ones()
    first, _ = train_once(answer, straight, rounds, [8] * 3)
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        train_once(die_with_the_last, ones(), rounds, [8] * 3, keeps_updates=True)
    assert sorted(asked) == [0, 1]
    resumed = ones()
    again, verdicts = train_once(answer, resumed, rounds, [8] * 3, keeps_updates=True)
    assert sorted(asked) == [0, 1, 2]
    assert [verdict.kind for verdict in verdicts] == ["admitted"] * 3
    assert torch.equal(resumed["w"], straight["w"])
    assert {entry.content for entry in again.updates} == {entry.content for entry in first.updates}
    assert [entry.provider for entry in again.updates if entry.client == 0] == ["provider-of-round-0001-client-0000"]


@pytest.mark.parametrize("damage", ["values", "description", "other weights"])
def test_a_kept_update_that_is_damaged_or_of_another_round_is_asked_for_again(
    damage: str, answers: Answers, rounds: Path
) -> None:
    asked: list[int] = []

    async def answer(task: Task) -> Outcome:
        asked.append(number_of(task))
        return answers.update(task, [0.1, 0.2, 0.3 + number_of(task)])

    train_once(answer, ones(), rounds, [8] * 2, keeps_updates=True)
    file = rounds / "round-0001-updates" / "round-0001-client-0000"
    if damage == "values":
        file.write_bytes(bytes(len(file.read_bytes())))
    elif damage == "description":
        file.with_name(f"{file.name}.json").write_text("[1]")
    asked.clear()
    weights = ones() if damage != "other weights" else {"w": torch.full((3,), 2.0)}
    train_once(answer, weights, rounds, [8] * 2, keeps_updates=True)
    assert sorted(asked) == ([0, 1] if damage == "other weights" else [0])


def test_who_never_answers_is_not_waited_for_once_enough_have(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        if number_of(task) == 3:
            backend.at_work[task.job.job_id] = answers.provider(task)
            await asyncio.Event().wait()
        return answers.update(task, [0.1, 0.1, 0.1 + number_of(task)])

    backend = SimulatedBackend(behave)
    report, verdicts = train_once(behave, ones(), rounds, [8] * 4, limits=RoundLimits(grace=0.2), backend=backend)
    assert report.moved
    assert sorted(verdict.kind for verdict in verdicts) == ["admitted"] * 3 + ["no update"]
    assert report.updates[-1].verdict == "the round closed before it came"
    assert report.updates[-1].provider == "provider-of-round-0001-client-0003"


def test_without_a_quorum_the_round_is_extended_once_and_then_skipped(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        if number_of(task) > 0:
            await asyncio.Event().wait()
        return answers.update(task, [0.1, 0.1, 0.1])

    weights, server = ones(), {"momentum": np.ones(3)}
    report, _ = train_once(behave, weights, rounds, [8] * 4, limits=VERY_SOON, server=server)
    assert not report.moved
    assert report.reason == "1 of the 2 updates that a quorum needs were admitted"
    assert torch.equal(weights["w"], torch.ones(3))
    assert report.server is server


def test_a_quorum_that_comes_in_the_extension_counts(answers: Answers, rounds: Path) -> None:
    limits = RoundLimits(seconds=0.2, extension=30, grace=0.1)

    async def behave(task: Task) -> Outcome:
        await asyncio.sleep(0.5 if number_of(task) < 2 else 3600)
        return answers.update(task, [0.1, 0.1, 0.1 + number_of(task)])

    report, _ = train_once(behave, ones(), rounds, [8] * 4, limits=limits)
    assert report.moved
    assert report.admitted == 2


def test_nobody_at_all(rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return Outcome(task, None, error="no provider has taken it")

    report, _ = train_once(behave, ones(), rounds, [8] * 2)
    assert not report.moved
    assert report.failures() == ["None: no provider has taken it"] * 2


def test_a_huge_update_that_came_first_is_an_outlier_when_the_others_are_there(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        hostile = number_of(task) == 0
        await asyncio.sleep(0 if hostile else 0.05)
        return answers.update(task, [5.0, 0, 0] if hostile else [0.1 * number_of(task), 0, 0.3])

    weights = ones()
    report, verdicts = train_once(behave, weights, rounds, [100] * 4, limits=ALL)
    assert weights["w"].tolist() == pytest.approx([1.2, 1.0, 1.3], abs=1e-3)
    assert (report.admitted, sorted(verdict.kind for verdict in verdicts)) == (3, [*["admitted"] * 3, "outlier"])
    (entry,) = [entry for entry in report.updates if not entry.admitted]
    assert (entry.client, entry.kind) == (0, "outlier")
    assert "far from the usual" in entry.verdict


class Suspicious:
    """An audit that finds the updates of one client false, whoever sends them."""

    def __init__(self, client: int) -> None:
        self._client = client

    def with_evidence(self, task: Task) -> Task:
        return task

    def check(self, outcome: Outcome, update: Any) -> str | None:
        return "segment 1 ends elsewhere" if number_of(outcome.task) == self._client else None

    def repeat_all(self, task: Task, update: Any) -> str | None:
        return None


@pytest.mark.parametrize(("same", "kinds"), [(True, ["outlier"] * 2), (False, ["false"] * 2)])
def test_what_two_providers_agree_on_is_held_against_neither(
    answers: Answers, rounds: Path, same: bool, kinds: list[str], tmp_path: Path
) -> None:
    async def behave(task: Task) -> Outcome:
        again = task.job.job_id.endswith("-again")
        return answers.update(task, [0.1, 0.2, 0.3 if same or not again else 0.4])

    bans = BanList(tmp_path / "bans.json")
    report, _ = train_once(
        behave, ones(), rounds, [8], audit=Suspicious(0), providers=Providers(bans), limits=RoundLimits(spare=1.0)
    )
    assert [entry.kind for entry in report.updates] == kinds
    assert not report.moved
    assert len(bans.read()) == (0 if same else 2)


def test_refused_work_is_given_out_again_under_another_name(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        if number_of(task) == 1 and not task.job.job_id.endswith("-again"):
            return answers.update(task, [0.0, 0.0, 0.0])
        return answers.update(task, [0.1, 0.1, 0.1 + number_of(task)])

    providers = Providers()
    report, verdicts = train_once(behave, ones(), rounds, [8] * 2, providers=providers, limits=RoundLimits(spare=1.0))
    assert sorted(verdict.kind for verdict in verdicts) == ["admitted", "admitted", "no work"]
    assert [entry.job for entry in report.updates if entry.client == 1] == [
        "round-0001-client-0001",
        "round-0001-client-0001-again",
    ]
    assert report.admitted == 2
    assert providers.is_banned("0xround-0001-client-0001")
    assert not providers.is_banned("0xround-0001-client-0001-again")


def test_refused_work_that_nobody_needs_is_left(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        step = 0.0 if number_of(task) == 3 else 0.1 + number_of(task)
        return answers.update(task, [step, step, step])

    backend = SimulatedBackend(behave)
    report, _ = train_once(behave, ones(), rounds, [8] * 4, backend=backend)
    assert report.moved
    assert len(backend.tasks) == 4


def test_results_of_another_round_are_ignored(answers: Answers, rounds: Path) -> None:
    class Confused(SimulatedBackend):
        async def run(self, tasks: Sequence[Task], seconds: float) -> Any:
            job = dataclasses.replace(tasks[0].job, job_id="round-0007-client-0000")
            late = dataclasses.replace(tasks[0], job=job)
            yield answers.update(late, [9.0, 9.0, 9.0])
            async for outcome in super().run(tasks, seconds):
                yield outcome

    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.5, 0.5, 0.5])

    weights = ones()
    report, _ = train_once(behave, weights, rounds, [8], backend=Confused(behave))
    assert len(report.updates) == 1
    torch.testing.assert_close(weights["w"], torch.full((3,), 1.5), atol=1e-3, rtol=0)


def far_from_two(weights: Mapping[str, torch.Tensor]) -> Any:
    """Returns a hold-out of 32 photos for which weights of 2 are best."""
    return np.full(32, abs(float(weights["w"].double().mean()) - 2))


def test_what_the_updates_do_together_must_pass_the_gate_too(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.5, 0.5, 0.5 + number_of(task) / 100])

    weights, server = ones(), {"momentum": np.full(3, 20.0)}  # the step goes far beyond 2
    report, verdicts = train_once(
        behave, weights, rounds, [8] * 2, evaluate=far_from_two, rule=AGGREGATION_RULES["momentum"], server=server
    )
    assert [verdict.kind for verdict in verdicts] == ["admitted"] * 2
    assert not report.moved
    assert "rolled back" in report.reason
    assert torch.equal(weights["w"], torch.ones(3))
    assert report.server is server


def test_relative_evidence_costs_the_round_alone(answers: Answers, rounds: Path, tmp_path: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.5 if number_of(task) < 2 else -0.5 - number_of(task) / 100] * 3)

    bans, backend = BanList(tmp_path / "bans.json"), SimulatedBackend(behave)
    providers = Providers(bans)
    for _ in range(3):
        report, _ = train_once(
            behave, ones(), rounds, [8] * 4, evaluate=far_from_two, providers=providers, backend=backend,
            limits=dataclasses.replace(SOON, quorum=1.0),
        )  # fmt: skip
        # What the hold-out refused was done again, and two that send the same digits are held apart from all.
        assert len(report.updates) == 4 + 2
        assert {entry.kind for entry in report.updates} == {"outlier"}
    assert len(backend.tasks) == 3 * (4 + 2)
    assert {standing.penalty for standing in providers.standings().values()} == {0}
    assert bans.read() == {}


def test_the_servers_state_goes_from_round_to_round(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.1, 0.1, 0.1 * task.job.plan.seed / 1e6])  # type: ignore[union-attr]

    weights = ones()
    first, _ = train_once(behave, weights, rounds, [8], rule=AGGREGATION_RULES["momentum"])
    second, _ = train_once(
        behave, weights, rounds, [8], rule=AGGREGATION_RULES["momentum"], server=first.server, number=2
    )
    assert second.moved
    assert weights["w"][0].item() == pytest.approx(1 + 0.1 + (0.05 + 0.1), abs=1e-3)


def test_a_stale_update_is_refused_in_the_next_round(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.25, 0.5, 0.125])

    weights = ones()
    report, _ = train_once(behave, weights, rounds, [8])
    history = AdmissionHistory.of([report.entry()])
    report, verdicts = train_once(behave, weights, rounds, [8], history=history, number=2)
    assert {verdict.kind for verdict in verdicts} == {"replay"}
    assert not report.moved


def test_what_a_killed_round_left_is_cleared_away(answers: Answers, rounds: Path) -> None:
    left = rounds / "round-0001-updates"
    left.mkdir()
    (left / "round-0001-client-0009").write_bytes(b"half an update")

    async def behave(task: Task) -> Outcome:
        return answers.update(task, [0.1, 0.2, 0.3])

    report, _ = train_once(behave, ones(), rounds, [8])
    assert report.moved
    assert list(rounds.iterdir()) == []


@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(1, 3000))
def test_a_round_takes_the_shards_behind_those_of_the_last_one(images: list[int], photos: int) -> None:
    names = [f"{i:064x}" for i in range(len(images))]
    whole = Client(tuple(names), tuple(map(Path, names)), tuple(images))
    taken = [name for number in range(2 * len(images)) for name in whole.for_round(number, photos).shards]
    assert taken == (names * len(taken))[: len(taken)]
    part = whole.for_round(3, photos)
    assert sum(part.images) <= photos or len(part.shards) == 1
    assert len(part.shards) == len(images) or sum(sorted(images)[-len(part.shards) - 1 :]) > photos


FINE_TUNING = dataclasses.replace(PLAN, steps=100, trainable_blocks=2)


@pytest.mark.parametrize(
    ("speed", "steps"), [(None, 100), (5.0, 100), (1.0, 100), (0.8, 100), (0.5, 50), (0.25, 25), (0.01, 25)]
)
def test_slow_providers_get_fewer_steps(speed: float | None, steps: int) -> None:
    assert 100 * share_of_work(FINE_TUNING, speed) == steps


def test_steps_that_cost_nothing_are_not_saved() -> None:
    assert share_of_work(PLAN, 0.1) == 1


def test_the_steps_of_a_round_follow_the_speeds_of_the_last_one(answers: Answers, rounds: Path) -> None:
    providers = Providers()
    for client, seconds in enumerate([10, 10, 40]):
        providers.admitted(Provider(str(client), str(client)), client, samples=100, seconds=seconds)
    backend = SimulatedBackend(lambda task: asyncio.sleep(0, Outcome(task, None, error="enough seen")))

    async def run() -> None:
        settings = RoundSettings(
            clients(800, 800, 800), FINE_TUNING, ("0" * 64, Path("base")), "mobilenet_v2", rounds, limits=SOON
        )
        await run_round(settings, backend, 2, ones(), lambda outcome, verdict: None, providers=providers)

    asyncio.run(run())
    assert [task.job.plan and task.job.plan.steps for task in backend.tasks] == [100, 100, 25]


def test_the_schema_of_the_task_bounds_the_file(answers: Answers, rounds: Path) -> None:
    async def behave(task: Task) -> Outcome:
        outcome = answers.update(task, [0.1, 0.2, 0.3])
        assert outcome.output is not None
        with outcome.output.open("r+b") as file:
            file.truncate(2**31)
        return outcome

    report, verdicts = train_once(behave, ones(), rounds, [8])
    assert {verdict.kind for verdict in verdicts} == {"malformed"}
    assert not report.moved
