"""Carries out one call of `nima-golem score`: finds, scores and selects photos, acts on them and writes their rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from nima.photos import PHOTO_SUFFIXES
from nima.safe_io import printable
from nima.scoring import (
    DEFAULT_MODEL,
    Runtime,
    Score,
    ScoreCache,
    Scorer,
    uses_onnx_runtime,
    with_groups,
)
from requestor.errors import ConfigurationError
from requestor.scoring.actions import PhotoActions
from requestor.scoring.files import LeftOut, listed_paths, photo_files
from requestor.scoring.formats import as_csv, as_json, as_json_lines
from requestor.scoring.marking import Marking
from requestor.scoring.marks import read_marks
from requestor.scoring.selection import Selection
from requestor.scoring.table import as_table
from requestor.scoring.users_cache import default_cache
from requestor.terminal import announce_conversion, find_or_fetch_model, terminal_width

if TYPE_CHECKING:
    from nima.xmp import RatingPlace
    from requestor.scoring.sheet import ContactSheet


@dataclass(frozen=True)
class ScoreRequest:
    """Describes which photos to score, how to score them, and what to do with their scores.

    photos: files, folders and patterns.
    recursive: True searches folders inside folders, too.
    path_list: a stream of further paths, each of which ends with `separator`; None for none.
    from_sheet: a list of marks that a contact sheet handed back: the photos in it that were kept are scored, and no
        others; None for none.
    model: path of a model, or its name in the table of weights; None for the default model.
    second_model: a model whose score stands beside the other's; None for none.
    format: format of the rows.
    output: file for the rows; None for stdout.
    sort: order of the rows; None for the highest score first in a table, and the order of the input otherwise.
    top, min_score, best_of_group: conditions under which only the best photos are kept (see `Selection`).
    group: True finds near-duplicates.
    html: file of a contact sheet; None for none.
    copy_to, link_to: actions on the photos of all rows (see `PhotoActions`).
    xmp, overwrite_ratings, initial_rating: the place of the ratings that are written, None for none, and those that are
        replaced (see `PhotoRater`).
    marking: decides which ratings and labels are written.
    dry_run: True only prints what would be copied, linked, rated and written beside the rows.
    cache: file that keeps the scores; None for the one in the user's cache folder.
    no_cache: True keeps no scores, and looks none up.
    device, runtime, batch_size, threads: as for `Scorer`.
    quiet: True prints nothing but errors on stderr.
    verbose: True prints the model, each photo that fails, and the speed.
    """

    photos: tuple[str, ...] = ()
    recursive: bool = False
    path_list: BinaryIO | None = None
    separator: bytes = b"\n"
    from_sheet: Path | None = None
    model: str | None = None
    second_model: str | None = None
    format: Literal["table", "json", "jsonl", "csv"] = "table"
    output: Path | None = None
    sort: Literal["score", "spread", "path", "input"] | None = None
    top: int | None = None
    min_score: float | None = None
    group: bool = False
    best_of_group: bool = False
    html: Path | None = None
    copy_to: Path | None = None
    link_to: Path | None = None
    xmp: RatingPlace | None = None
    overwrite_ratings: bool = False
    initial_rating: int | None = None
    marking: Marking = field(default_factory=Marking)
    dry_run: bool = False
    cache: Path | None = None
    no_cache: bool = False
    device: str = "auto"
    runtime: Runtime = "auto"
    batch_size: int = 16
    threads: int | None = None
    quiet: bool = False
    verbose: bool = False

    @property
    def grouped(self) -> bool:
        """Returns True if near-duplicates are to be found."""
        return self.group or self.best_of_group

    @property
    def selection(self) -> Selection:
        """Returns the selection and the order of the rows."""
        order = self.sort or ("score" if self.format == "table" else "input")
        return Selection(order, self.top, self.min_score, self.best_of_group)

    @property
    def streams(self) -> bool:
        """Returns True if each row is written as soon as its photo is scored."""
        selection = self.selection
        return self.format != "table" and selection.order == "input" and selection.top is None and not self.grouped

    @property
    def sheet_path(self) -> Path | None:
        """Returns the file of the contact sheet to write; None in a dry run."""
        return None if self.dry_run else self.html

    def files(self, left_out: LeftOut | None = None) -> Iterator[Path]:
        """Yields the files to score. It reads `path_list`, which can be read only once.

        Args:
            left_out: receives what is not scored, as for `photo_files`.

        Raises `ConfigurationError` if `from_sheet` is no list of marks.
        """
        if self.from_sheet is not None:  # its paths are those of files: no folder is searched, no pattern is matched
            return (Path(mark.path) for mark in read_marks(self.from_sheet) if mark.stars > 0)
        return photo_files(self._paths(), self.recursive, left_out)

    def _paths(self) -> Iterator[str]:
        yield from self.photos
        if self.path_list is not None:
            yield from listed_paths(self.path_list, self.separator)

    def note(self, text: str) -> None:
        """Prints a remark on stderr, unless the request is quiet."""
        if not self.quiet:
            click.echo(text, err=True)


def run(request: ScoreRequest) -> int:
    """Scores the photos, acts on them and writes their rows. Returns the exit code.

    The exit code is 1 if there was no photo, a photo could not be read, a pattern matched nothing, or an action failed;
    otherwise it is 0.

    Raises:
        ConfigurationError: the output or the contact sheet cannot be written, or would replace another file.
        NimaError: the model cannot be loaded or fetched, or cannot compute on the device, or exiftool is missing.
    """
    actions = _actions(request)
    scorer = _scorer(request)
    count = _Count(request)
    _check_dry_sheet(request)
    with ExitStack() as opened:
        sheet = _sheet(request.sheet_path, opened)
        file = opened.enter_context(_destination(request.output))
        scores = count.counted(scorer.score(request.files(count.left_out)))
        if sheet is not None:
            scores = sheet.thumbnails_kept(scores)
        scores = _with_bar(request, scores, file)
        if request.grouped:
            scores = iter(with_groups(scores))
        chosen = _acted(actions, request.selection.of(scores), count)
        if sheet is not None:
            chosen = sheet.written(chosen)
        _write_rows(request, chosen, file)
        if count.stopped:
            raise KeyboardInterrupt  # here, so that no contact sheet of a part replaces that of the whole
    count.report(sheet)
    if (summary := actions.rating_summary()) is not None:
        request.note(summary)
    return 0 if count.done and not count.wrong and not actions.failures else 1


def _acted(actions: PhotoActions, chosen: Iterator[Score], count: _Count) -> Iterator[Score]:
    """Yields scores after the actions on their photos, without actions once Ctrl-C has cut the choice short."""
    for score in chosen:
        yield from [score] if count.stopped else actions.on([score])


def _scorer(request: ScoreRequest) -> Scorer:
    cache = _cache(request)
    scorer = _scorer_of(request, request.model or DEFAULT_MODEL, cache)
    if request.second_model is None:
        return scorer
    return scorer.beside(_scorer_of(request, request.second_model, cache))


def _scorer_of(request: ScoreRequest, model: str, cache: ScoreCache | None) -> Scorer:
    path = find_or_fetch_model(model)
    if uses_onnx_runtime(request.runtime, request.device) and not request.quiet:
        announce_conversion(path)
    scorer = Scorer(
        path,
        device=request.device,
        batch_size=request.batch_size,
        threads=request.threads,
        cache=cache,
        appearance=request.grouped,
        thumbnails=request.sheet_path is not None,
        runtime=request.runtime,
    )
    if request.verbose:
        request.note(f"{scorer.model} on {scorer.device}")
    return scorer


def _cache(request: ScoreRequest) -> ScoreCache | None:
    """Opens the cache of scores; only a file that the user has named must be usable."""
    if request.no_cache:
        return None
    if request.cache is not None:
        return ScoreCache(request.cache)
    return default_cache(request.note)


def _actions(request: ScoreRequest) -> PhotoActions:
    rater = None
    if request.xmp is not None:
        from nima.xmp import PhotoRater, find_exiftool  # imported here, as the parser of XML takes time to import

        if request.xmp == "embed":
            find_exiftool()  # raises an error before hours are spent on scores
        rater = PhotoRater(request.xmp, request.overwrite_ratings, request.initial_rating, request.dry_run)
    return PhotoActions(
        note=lambda text: click.echo(text, err=True),
        copy_to=request.copy_to,
        link_to=request.link_to,
        rater=rater,
        marking=request.marking,
        dry_run=request.dry_run,
    )


# The contact sheet is imported in these functions alone, because jinja takes as long to import as a photo to score.


def _sheet(path: Path | None, opened: ExitStack) -> ContactSheet | None:
    """Opens the contact sheet until `opened` is closed; returns None if there is no path."""
    if path is None:
        return None
    from requestor.scoring.sheet import contact_sheet

    return opened.enter_context(contact_sheet(path))


def _check_dry_sheet(request: ScoreRequest) -> None:
    """Prints in a dry run that the contact sheet would be written; raises `ConfigurationError` if it could not be."""
    if request.dry_run and request.html is not None:
        from requestor.scoring.sheet import check_replaceable

        check_replaceable(request.html)
        click.echo(f"would write {printable(str(request.html))}", err=True)


def _destination(output: Path | None) -> AbstractContextManager[BinaryIO]:
    """Opens the file for the rows. Raises `ConfigurationError` if it has a photo's suffix or cannot be written."""
    if output is None:
        return nullcontext(sys.stdout.buffer)
    if output.suffix.lower() in PHOTO_SUFFIXES:
        raise ConfigurationError(
            f"--output {output} has the name of a photo and might replace one. Choose another name."
        )
    try:
        return output.open("wb")
    except OSError as error:
        raise ConfigurationError(
            f"--output {output} cannot be written ({error.strerror}). Choose another --output."
        ) from error


def _with_bar(request: ScoreRequest, scores: Iterator[Score], file: BinaryIO) -> Iterator[Score]:
    """Yields `scores`, with a progress bar if stderr is a terminal."""
    # Rows that are printed one by one on the terminal show the progress by themselves.
    if request.quiet or not sys.stderr.isatty() or (request.streams and file.isatty()):
        return scores
    from requestor.terminal import with_scoring_progress  # imported here, as only a bar needs rich's progress

    count = (lambda: sum(1 for _ in request.files())) if request.path_list is None else None
    return with_scoring_progress(scores, count)


def _write_rows(request: ScoreRequest, scores: Iterator[Score], file: BinaryIO) -> None:
    if request.format == "table":
        # All scores are collected first, so that the progress bar has left the terminal before the table is printed.
        text = as_table(list(scores), terminal_width(file), request.grouped, request.second_model is not None)
    else:
        written = {"json": as_json, "jsonl": as_json_lines, "csv": as_csv}[request.format]
        text = written(scores, request.grouped, request.second_model is not None)
    for line in text:
        file.write(line.encode("utf-8", "surrogateescape"))  # the bytes of a path are written unchanged
        file.flush()


class _Count:
    """Counts the photos of a request, measures the time that they take, and reports both at the end."""

    def __init__(self, request: ScoreRequest) -> None:
        self._request = request
        self._started = time.monotonic()
        self.done = 0
        self.failed = 0
        self.stopped = False
        self.left_out = LeftOut()

    @property
    def wrong(self) -> bool:
        """Returns True if a photo could not be read or a pattern matched nothing."""
        return bool(self.failed or self.left_out.unmatched)

    def counted(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields the scores; with `verbose`, prints the reason for each photo that could not be read.

        Ctrl-C ends the scores and sets `stopped`, so that the rows of those before it can be written.
        """
        try:
            for score in scores:
                self.done += 1
                if score.error is not None:
                    self.failed += 1
                    if self._request.verbose:
                        self._request.note(printable(score.error))
                yield score
        except KeyboardInterrupt:
            self.stopped = True

    def report(self, sheet: ContactSheet | None) -> None:
        """Prints the counts, the speed, and what was left out, as far as the request wants it."""
        note = self._request.note
        if self._request.verbose:
            seconds = time.monotonic() - self._started
            note(f"{self.done} photos in {seconds:.1f} s ({self.done / seconds:.1f} per second)")
        if (summary := self.left_out.summary()) is not None:
            note(printable(summary))
        for pattern in self.left_out.unmatched:
            click.echo(f"{printable(pattern)}: no file matches this pattern.", err=True)
        if self.failed:
            note(f"{self.failed} of {self.done} photos could not be read.")
        if self.done and sheet is not None and not sheet.photos:
            note(f"No photo is left for the contact sheet: {printable(str(self._request.html))} was not written.")
        if not self.done and not self.left_out.unmatched:
            click.echo("No photo was found. Pass -r to search folders inside folders, too.", err=True)
