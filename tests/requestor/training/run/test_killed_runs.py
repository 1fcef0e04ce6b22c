"""A run that is killed with SIGKILL at random moments: the same command ends with the same model each time.

Three moments are tried, or twenty with NIMA_GOLEM_EVERY_FAILURE=1 in the environment.

Providers work in the run's own process here, so that a run takes seconds. test_train_golem_resume.py tests on a devnet
what a kill means for agreements and money.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from ava_folder import make_ava_folder
from simulated_backend import SimulatedBackend

from nima.ava import Dataset
from provider_image.work import perform
from requestor.backends.base import Outcome, Provider, Task
from requestor.backends.board import with_place
from requestor.evaluation.splits import chosen_test_split as split_of
from requestor.records.folder import RunFolder
from requestor.terminal.run_progress import RunProgress
from requestor.training.config import RunConfig
from requestor.training.run.pipeline import TrainingRun
from requestor.training.strategies import Strategy

KILLS = 20 if os.environ.get("NIMA_GOLEM_EVERY_FAILURE") else 3
ROUNDS = 2
EVERYTHING = Strategy("embed and federate", embeds=True, rounds=ROUNDS, blocks=0)  # in seconds
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir")  # audit events that change files, or may change them


def train(ava: Path, run_dir: Path, kill_at: int | None, jobs: Path, steps: Path) -> None:
    """Runs one process of a run, which kills itself at its `kill_at`-th access to the run's folder, counted in `steps`.

    Every job that a provider was given is appended to `jobs`.
    """
    log = steps.with_suffix(".log").open("a")
    sys.stdout = sys.stderr = log  # this process ends with this call
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in WATCHED and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(f"{run_dir}/"):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    turn = asyncio.Lock()  # one after another, because dropout draws from a generator that threads share

    async def work(task: Task) -> Outcome:
        async with turn:
            with jobs.open("a") as file:
                file.write(f"{task.job.job_id}\n")
            return await asyncio.to_thread(do, task, run_dir)

    config = RunConfig(
        backend="local", workers=2, budget=Decimal(1), max_price=Decimal(1), network="hoodi", subnet="public", ava=ava,
        run_dir=run_dir, backbone="mobilenet_v2", strategy=EVERYTHING, rounds=ROUNDS, blocks=EVERYTHING.blocks,
        hours=None, aggregation="momentum",
        proximal=0.0, audit=0.0, seed=0,
    )  # fmt: skip
    sys.addaudithook(watch)
    folder = RunFolder(run_dir, config.identity())
    folder.write("data.json", Dataset.read(ava).as_json())
    with RunProgress() as progress:
        run = TrainingRun(config, folder, SimulatedBackend(work), split_of(ava, None, 0), progress)
        asyncio.run(run.run())
    steps.write_text(str(count))


def do(task: Task, run_dir: Path) -> Outcome:
    """Does a provider's work, in a folder beside the run's."""
    job = with_place(task, str(run_dir / "store"), 1).job
    folder = run_dir.with_name(f"{run_dir.name}-{job.job_id}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if task.weights is not None:
        shutil.copyfile(task.weights, folder / "weights.safetensors")
    result = replace(perform(job, folder), seconds=0.5)  # independent of how busy this machine is
    assert result.output is not None
    output = run_dir / "inbox" / f"{job.job_id}.safetensors"
    shutil.move(folder / result.output, output)
    shutil.rmtree(folder)
    client = job.job_id.split("-")[-1]
    return Outcome(task, Provider(client, client), result, output, seconds=1.0)  # equal speeds, equal work


class Trainer:
    """Runs `train` in separate processes, which begin with everything imported."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ava = make_ava_folder(folder / "ava", images=40, tested=4)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # sums depend on it, and so may a verdict
            ready = self._context.Process(target=torch.get_num_threads)
            ready.start()
            ready.join()

    def train(self, name: str, kill_at: int | None = None) -> int:
        """Runs the training; returns the exit code."""
        run_dir, jobs, steps = (self._folder / f"{name}{suffix}" for suffix in ("", ".jobs", ".steps"))
        process = self._context.Process(target=train, args=(self._ava, run_dir, kill_at, jobs, steps))
        process.start()
        process.join(240)
        assert process.exitcode is not None
        return process.exitcode

    def model(self, name: str) -> tuple[bytes, bytes]:
        """Returns the checkpoint of the last round, and the predictions of the best one."""
        run_dir = self._folder / name
        return (run_dir / "rounds" / f"{ROUNDS:04d}.safetensors").read_bytes(), (
            run_dir / "predictions.csv"
        ).read_bytes()

    def jobs(self, name: str) -> list[str]:
        return (self._folder / f"{name}.jobs").read_text().split()

    def steps(self, name: str) -> int:
        return int((self._folder / f"{name}.steps").read_text())


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    trainer = Trainer(tmp_path_factory.mktemp("killed"))
    assert trainer.train("whole") == 0
    return trainer


@pytest.fixture(scope="module")
def killed(trainer: Trainer) -> Iterator[list[Future[list[int]]]]:
    """Yields the exit codes of all runs, each killed and run again; as many at a time as there are cores."""

    def kill_and_resume(number: int) -> list[int]:
        moment = random.Random(number).randint(1, trainer.steps("whole"))
        return [trainer.train(f"killed-{number}", kill_at=moment), trainer.train(f"killed-{number}")]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield [pool.submit(kill_and_resume, number) for number in range(KILLS)]


@pytest.mark.parametrize("number", range(KILLS))
def test_a_run_killed_at_a_random_moment_ends_with_the_same_model(
    trainer: Trainer, killed: list[Future[list[int]]], number: int
) -> None:
    assert killed[number].result() == [-signal.SIGKILL, 0]
    name = f"killed-{number}"
    assert trainer.model(name) == trainer.model("whole")
    # Only the one step that was interrupted is done again.
    again = len(trainer.jobs(name)) - len(trainer.jobs("whole"))
    assert 0 <= again <= 2
