"""Shows a progress bar on stderr if that is a terminal, and nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields a function that is to be called with the numbers of steps done and of all steps.

    The bar shows the label `what`, these numbers and the time left. A number of all steps that is not known is None.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    # These are imported here, because the import takes a tenth of a second, and without a terminal there is no bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
