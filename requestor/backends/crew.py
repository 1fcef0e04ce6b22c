"""Runs the hired providers: each takes tasks from the board, one after another, and its cost is watched meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from nima.wire import JOB_FILE, OUTPUT_FILES, RESULT_FILE, JobError, VersionMismatch, state_file
from requestor.backends.attempt import Attempt
from requestor.backends.base import Task
from requestor.backends.board import Board, with_place
from requestor.backends.hired import LAST_SECONDS, CommandFailure, GolemSettings, Hired, OurFault, job_folder
from requestor.backends.inbox import Inbox, Junk, NoResult
from requestor.golem.gftp import FILE_TOO_LARGE
from requestor.image import STORE_FOLDER
from requestor.money import EVALUATION_RESERVE, Accounts, show_glm
from requestor.planning import AttemptTime, Uplink, attempt_times

STATES_SECONDS = 120.0  # time limit for the transfer of a training's states, which are computed by then
METER_SECONDS = 5.0  # time between two requests for the cost of each activity


class Seat(Protocol):
    """Describes what yapapi calls a task: the place of one provider, from the first to the last task that it does."""

    def accept_result(self) -> None:
        """Tells yapapi that the provider has left its seat, and that its work is accepted."""


class Unaffordable(Exception):
    """Says that the budget does not cover the rest of an attempt."""


class Dismissed(Exception):
    """Makes yapapi end the agreement of a provider that is banned."""


class AgreementEnding(Exception):
    """Makes yapapi end an agreement in which no further task can end in time, and hire for its seat again."""


class Crew:
    """Runs all hired providers.

    Args:
        settings: the settings of the Golem backend.
        accounts: the run's accounts, which are asked before every task, and are told every cost.
        board: the board from which the providers take tasks.
        inbox: takes the files that providers send.
        failure_of: returns the failed command that an exception of yapapi means, or our own failure; for any other
            exception, its reason in words.
    """

    def __init__(
        self,
        settings: GolemSettings,
        accounts: Accounts,
        board: Board,
        inbox: Inbox,
        failure_of: Callable[[Exception], CommandFailure | OurFault | str],
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._board = board
        self._inbox = inbox
        self._failure_of = failure_of
        self._uplink = Uplink()
        self._hired: dict[str, Hired] = {}
        self._agreement_of: dict[str, str] = {}  # id of a job with a result → its agreement

    @property
    def names(self) -> set[str]:
        """Returns the names of the hired providers."""
        return {hired.provider.name for hired in self._hired.values()}

    @property
    def size(self) -> int:
        """Returns the number of hired providers."""
        return len(self._hired)

    def agreement_of(self, job_id: str) -> str | None:
        """Returns the id of the agreement under which a job's result came; None if no result came."""
        return self._agreement_of.get(job_id)

    async def work(self, hired: Hired, seats: AsyncIterable[Seat]) -> AsyncGenerator[Any, Any]:
        """Yields the scripts that one provider runs, from its first task to its last.

        If it raises an exception, yapapi ends the agreement and gives the seat to another provider.

        Args:
            hired: the provider.
            seats: yapapi's tasks, of which the provider takes one as its seat.
        """
        activity, provider = hired.context.id, hired.provider
        hired.held.update(f"{sha256}.safetensors" for sha256 in self._settings.image_models)
        self._accounts.open(activity, hired.agreement)
        self._hired[activity] = hired
        try:
            async for seat in seats:
                while task := await self._board.wait_for_task(
                    provider, hired.held, self._accounts.can_wait, lambda: hired.seconds_for_task
                ):
                    attempt = Attempt(self._board, self._accounts.ledger, hired.agreement, provider, task)
                    succeeded = False
                    try:
                        async with aclosing(self._scripts(hired, task, attempt)) as scripts:
                            async for script in scripts:
                                yield script
                        result, output = self._inbox.take(task)
                        numbers = task.evidence.choose(result) if task.evidence is not None else ()
                        if numbers:
                            yield self._states_script(hired, task, numbers)
                        states = self._inbox.take_states(task, numbers)
                        cost = await self._meter(activity)
                        if reason := self._accounts.too_dear(activity):
                            raise Junk(reason)
                    except Unaffordable:
                        attempt.give_back()
                        self._board.withdraw(f"the budget of {show_glm(self._accounts.budget)} allows no further task")
                    except VersionMismatch as error:
                        attempt.refuse(str(error))
                    except Junk as error:
                        attempt.fail_by_junk(str(error))
                    except (JobError, NoResult) as error:
                        attempt.fail(str(error))
                    except Exception as error:
                        failure = self._failure_of(error)
                        if attempt.slept:
                            failure = OurFault("this machine slept meanwhile")
                        if reason := self._excuse(hired, failure):
                            attempt.give_back(reason)
                            raise
                        if not isinstance(failure, CommandFailure):
                            attempt.fail(str(failure))
                            raise
                        if failure.is_mismatch:
                            attempt.refuse(str(failure))
                        elif FILE_TOO_LARGE in failure.message:
                            attempt.fail_by_junk(str(failure))
                        else:
                            attempt.fail(str(failure))
                        if not hired.deployed:
                            raise
                    except BaseException:  # the worker is being stopped
                        attempt.give_back()
                        raise
                    else:
                        self._agreement_of[task.job.job_id] = hired.agreement
                        if cost is not None:
                            cost, hired.accounted = cost - hired.accounted, cost
                        attempt.succeed(result, output, cost, states)
                        succeeded = True
                    finally:
                        if not succeeded:
                            self._inbox.clear(task)
                    self._accounts.rest(activity)
                if self._board.is_banned(provider.id):
                    raise Dismissed(f"{provider.name} is given no more tasks")
                if not self._board.closed and self._accounts.can_wait():
                    raise AgreementEnding(f"no task can end before the agreement with {provider.name} does")
                seat.accept_result()
        finally:
            del self._hired[activity]
            self._accounts.close(activity)

    async def meter_all(self) -> None:
        """Asks all providers for their costs, again and again, until it is cancelled.

        If no answer comes, the accounts assume the highest possible cost.
        """
        while True:
            await asyncio.gather(*map(self._meter, list(self._hired)))
            await asyncio.sleep(METER_SECONDS)

    async def _meter(self, activity: str) -> Decimal | None:
        """Returns the GLM that an activity has cost so far, as its provider reports it; None if it does not answer."""
        with suppress(Exception):  # the answer comes from a provider, and may be anything
            answer = await asyncio.wait_for(self._hired[activity].context.get_cost(), METER_SECONDS)
            if answer is not None and activity in self._hired:
                cost = Decimal(repr(answer))
                self._accounts.report(activity, cost)
                return cost
        return None

    def _excuse(self, hired: Hired, failure: CommandFailure | OurFault | str) -> str | None:
        """Returns the reason why the provider is not to blame for a failure; None if it may be."""
        if isinstance(failure, OurFault):
            return failure.reason
        if self._board.closed:  # what yapapi ends then can look like a failure of the provider
            return "the run was being stopped"
        if hired.upload is not None and self._uplink.is_to_blame(hired.upload):
            return "this machine's uplink is too slow to send the files in time"
        return "the agreement ended" if hired.seconds_left < -LAST_SECONDS else None

    def _promised(self, hired: Hired, task: Task) -> AttemptTime:
        """Promises an activity the highest cost of the rest of an attempt at a task; returns the time limits of it.

        If the budget does not cover the time that the attempt may take, it tries shorter times. Raises `Unaffordable`
        if it does not cover the shortest either, in which a usual provider behind a usual uplink would end.
        """
        reserve = Decimal(0) if task.job.kind == "evaluate" else EVALUATION_RESERVE
        size = task.bytes_without(hired.held)
        for limits in attempt_times(hired.deployed, size, task.seconds, task.usual_seconds):
            if self._accounts.promise(hired.context.id, task.job.job_id, limits.whole, reserve):
                return limits
        raise Unaffordable

    async def _scripts(self, hired: Hired, task: Task, attempt: Attempt) -> AsyncGenerator[Any, None]:
        """Makes the scripts of an attempt: to start the image, to send the missing files, and to run the program.

        Each has a time limit of its own, so that a slow uplink takes no time from the program. Raises `Unaffordable`
        if the budget does not cover the attempt, or no longer when it is the provider's turn to be sent files.
        """
        self._inbox.expect(task)
        hired.upload, limits = None, self._promised(hired, task)
        if not hired.deployed:
            script = hired.context.new_script(timeout=timedelta(seconds=limits.start))
            script.deploy()
            script.start()
            yield script
            hired.deployed = True
        if files := hired.missing(task):
            async with self._uplink.turn(self._accounts.can_wait) as has_turn:
                if not has_turn:
                    raise Unaffordable
                limits = self._promised(hired, task)
                script = hired.context.new_script(timeout=timedelta(seconds=limits.sending))
                for path, target in files:
                    script.upload_file(str(path), target)
                hired.upload = self._uplink.begin(limits.sending)
                yield script
                self._uplink.finish()
                hired.upload = None
                hired.held.update(path.name for path in task.store)
        attempt.begin_work()
        yield self._program(hired, task, limits.working)

    def _program(self, hired: Hired, task: Task, seconds: float) -> Any:
        """Makes the script that runs the program on files which the provider has, and fetches the results."""
        folder = job_folder(task)
        script = hired.context.new_script(timeout=timedelta(seconds=seconds))
        job = with_place(task, STORE_FOLDER, hired.threads).job
        script.upload_bytes(job.to_json().encode(), f"{folder}/{JOB_FILE}")
        script.run(self._settings.python, "-m", "provider_image", f"{folder}/{JOB_FILE}")
        script.download_file(f"{folder}/{RESULT_FILE}", str(self._inbox.result_file(task)))
        output = OUTPUT_FILES.get(task.job.kind)
        if output is not None:
            script.download_file(f"{folder}/{output}", str(self._inbox.output_file(task)))
        return script

    def _states_script(self, hired: Hired, task: Task, numbers: Sequence[int]) -> Any:
        """Makes the script that fetches states of a training, after its result has come."""
        script = hired.context.new_script(timeout=timedelta(seconds=STATES_SECONDS))
        for number in numbers:
            script.download_file(
                f"{job_folder(task)}/{state_file(number)}", str(self._inbox.expect_state(task, number))
            )
        return script
