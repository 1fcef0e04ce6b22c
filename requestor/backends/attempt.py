"""Reports to the board and to the ledger how one provider's attempt at one task ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from nima.safe_io import one_line
from nima.wire import JobResult
from requestor.backends.base import Outcome, Provider, Task
from requestor.backends.board import Board
from requestor.money import CLOCK, Clock
from requestor.records import Ledger

LONGEST_GAP = 5.0  # seconds that clocks may differ by if this machine has not slept

logger = logging.getLogger(__name__)


class Attempt:
    """One provider's attempt at one task. It begins with the constructor; exactly one of its methods ends it.

    Args:
        board: the board from which the provider took the task.
        ledger: the run's ledger, which decides about the bill later.
        agreement: id of the agreement under which the attempt is billed.
        provider: the provider.
        task: the task.
        clock: the clock by which the attempt is measured.
    """

    def __init__(
        self, board: Board, ledger: Ledger, agreement: str, provider: Provider, task: Task, clock: Clock = CLOCK
    ) -> None:
        self._board = board
        self._ledger = ledger
        self._agreement = agreement
        self._provider = provider
        self._task = task
        self._clock = clock
        self._started, self._asleep = clock(), clock.asleep()

    def begin_work(self) -> None:
        """Notes that the provider has all its files: the time counts from now on, as the uplink may have been busy."""
        self._started, self._asleep = self._clock(), self._clock.asleep()

    def succeed(self, result: JobResult, output: Path | None, cost: Decimal | None, states: Mapping[int, Path]) -> None:
        """Ends the attempt with a result.

        Args:
            result: the provider's result.
            output: the output file on this machine; None if there is none.
            cost: GLM for the provider's usage since its last outcome; None if it is not known.
            states: the files of the states for which the task asked, by their numbers.
        """
        self._record(ok=True)
        # Nobody saw when the work ended in a gap, so the provider's own claim counts, as far as it is possible.
        awake = self._seconds - self._gap
        seconds = min(max(awake, result.seconds), self._seconds) if self.slept else self._seconds
        self._board.complete(
            Outcome(self._task, self._provider, result, output, seconds=seconds, cost=cost, states=states)
        )

    def fail(self, error: str) -> None:
        """Ends the attempt with a failure for a reason; the board may give the task to another provider.

        Here and below, the provider may have written the reason: it is made one printable line.
        """
        error = one_line(error)
        logger.warning("%s failed %s: %s", self._provider.name, self._task.job.job_id, error)
        self._record(ok=False)
        self._board.fail(self._task, self._provider, error, self._seconds)

    def fail_by_junk(self, error: str) -> None:
        """Ends the attempt with a failure by a result, file or bill that breaks the rules.

        Nothing is paid under the agreement if no other task of it has succeeded.
        """
        error = one_line(error)
        self._ledger.record("rejected", agreement=self._agreement, job=self._task.job.job_id, reason=error)
        self.fail(error)

    def refuse(self, error: str) -> None:
        """Ends the attempt because the provider's program says that it is of another version."""
        error = one_line(error)
        logger.error("%s refused %s: %s", self._provider.name, self._task.job.job_id, error)
        self._record(ok=False)
        self._board.refuse(self._task, self._provider, error, self._seconds)

    def give_back(self, reason: str | None = None) -> None:
        """Ends the attempt for a reason that is not the provider's, for example because this program stopped it.

        Args:
            reason: the failure on this machine; None if there was none.
        """
        if reason is not None:
            logger.warning("%s on %s was given back: %s", self._task.job.job_id, self._provider.name, reason)
        self._board.give_back(self._task, reason)

    @property
    def slept(self) -> bool:
        """Returns True if this machine has slept meanwhile; a failure then says nothing about the provider."""
        return self._gap > LONGEST_GAP

    @property
    def _gap(self) -> float:
        return self._clock.asleep() - self._asleep

    @property
    def _seconds(self) -> float:
        return self._clock() - self._started

    def _record(self, *, ok: bool) -> None:
        self._ledger.record("task", agreement=self._agreement, job=self._task.job.job_id, ok=ok)
