"""What a person sees while a run goes on, on stderr: one bar with ETA and cost on a terminal, plain lines elsewhere."""

from __future__ import annotations

from decimal import Decimal
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from requestor.budget import show_glm


class RunProgress:
    """One bar at a time; `note` prints a line that stays."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        self._console.print(line, markup=False)

    def stage(self, name: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` steps, of which `done` are behind us; replaces the bar of the one before."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total, completed=done, status="")

    def advance_to(self, done: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done)

    def cost(self, providers: int, spent: Decimal, budget: Decimal) -> None:
        if self._task is not None:
            crowd = f"{providers} provider{'s' if providers != 1 else ''}"
            self._bar.update(self._task, status=f"{crowd} · {show_glm(spent)} of {show_glm(budget)}")
