"""Shows the progress of a run on stderr: a bar with time left and cost if it is a terminal, only lines otherwise."""

from __future__ import annotations

from decimal import Decimal
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from requestor.money import show_glm


def seconds_left(done: int, left: int, at_once: int, elapsed: float, since_last: float) -> float | None:
    """Estimates how many seconds the rest of a stage takes; returns None before the first step is done.

    Args:
        done, left: numbers of steps that are done, and that are not done yet.
        at_once: number of steps that are worked on in parallel: when the first is done, the others are expected soon.
        elapsed: seconds from the beginning of the stage to the end of the last step that is done.
        since_last: seconds from then until now.
    """
    if done == 0:
        return None
    return max(0.0, left * elapsed / max(done, min(at_once, done + left)) - since_last)


class _Steps(ProgressColumn):
    """Shows the numbers of steps done and of all steps, and the time left; shows nothing if a stage has no steps."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text()
        fields = task.fields
        begun, at_last = fields["begun"], fields["at_last"]
        left = seconds_left(
            int(task.completed) - begun, int(task.total - task.completed), fields["at_once"], at_last,
            (task.elapsed or 0.0) - at_last,
        )  # fmt: skip
        shown = "?" if left is None else f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
        return Text(f"{int(task.completed)}/{int(task.total)} ETA {shown}")


class RunProgress:
    """Shows one bar at a time, and notes above it, which stay on the screen.

    doing: name of the current stage.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            _Steps(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self.doing = ""

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        """Prints a line that stays on the screen."""
        self._console.print(line, markup=False)

    def stage(self, name: str, total: int | None = None, done: int = 0, *, at_once: int = 1) -> None:
        """Begins a stage; its bar replaces that of the stage before.

        Args:
            name: name of the stage.
            total: number of its steps; None if they cannot be counted.
            done: number of steps that are done already.
            at_once: number of steps that are worked on in parallel.
        """
        status = ""
        if self._task is not None:
            status = self._bar.tasks[0].fields["status"]
            self._bar.remove_task(self._task)
        self.doing = name
        self._task = self._bar.add_task(
            name, total=total, completed=done, status=status, begun=done, at_last=0.0, at_once=at_once
        )

    def advance_to(self, done: int) -> None:
        """Shows that so many steps of the stage are done."""
        if self._task is not None and done != self._bar.tasks[0].completed:
            self._bar.update(self._task, completed=done, at_last=self._bar.tasks[0].elapsed or 0.0)

    def cost(self, providers: int, spent: Decimal, budget: Decimal) -> None:
        """Shows the number of hired providers, and the GLM that are spent and that may be spent."""
        if self._task is not None:
            crowd = f"{providers} provider{'s' if providers != 1 else ''}" if providers else "looking for providers"
            self._bar.update(
                self._task, status=f"{crowd} · {show_glm(spent).removesuffix(' GLM')} of {show_glm(budget)}"
            )
