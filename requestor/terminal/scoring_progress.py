"""Shows the progress of scoring on stderr if it is a terminal: photos done, all photos, rate and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Thread

from rich import progress
from rich.console import Console
from rich.text import Text

from nima.scoring import Score


class _Rate(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def with_scoring_progress(scores: Iterable[Score], count: Callable[[], int] | None) -> Iterator[Score]:
    """Yields `scores` and shows a bar, which disappears after the last one.

    Args:
        scores: the scores, as they are computed.
        count: returns the number of scores; it is called in a thread, because it may search many folders. None if the
            number cannot be known.
    """
    columns = (
        progress.TextColumn("scoring"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        _Rate(),
        progress.TimeRemainingColumn(),
    )
    # stdout is for data. Without this option, rich would send text that is printed on stdout to its own console.
    with progress.Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None)
        if count is not None:
            all_of_them = count
            Thread(target=lambda: bar.update(task, total=all_of_them()), daemon=True).start()
        for score in scores:
            bar.advance(task)
            yield score
