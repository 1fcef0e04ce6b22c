"""Writes a contact sheet: one HTML file with the thumbnails and scores of photos, which needs no other file.

All parts are written as they come, and thumbnails are kept on disk until the photos are chosen and put in order, so the
memory does not depend on the number of photos.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from nima.safe_io import AtomicFile, printable
from nima.scoring import Score
from requestor.errors import ConfigurationError
from requestor.html_templates import inline_sources, templates_of

_BEGINNING = b'<!doctype html>\n<html lang="en">\n<meta name="generator" content="nima-golem contact sheet">\n'
# Twentieths of a photo's width divided by its height: the page rounds to one of them, and cuts what is beyond them.
_WIDTHS = range(12, 53)


@dataclass
class FolderSummary:
    """Summarises the photos of one folder: their number, their mean score and the highest score."""

    photos: int = 0
    mean: float = 0.0
    best: float = 0.0

    def add(self, score: float) -> None:
        """Takes the score of one more photo, 1 to 10, into account."""
        self.photos += 1
        self.mean += (score - self.mean) / self.photos
        self.best = max(self.best, score)


class ContactSheet:
    """Writes scores to a sheet: `thumbnails_kept` takes all scores as they come, then `written` takes the chosen ones.

    photos: number of photos that are on the sheet.
    """

    def __init__(self, path: Path, page: BinaryIO, thumbnails: BinaryIO) -> None:
        self._path, self._page, self._thumbnails = path, page, thumbnails
        self._places: dict[str, tuple[int, int]] = {}  # path → where its thumbnail begins, and its length
        self.photos = 0

    def thumbnails_kept(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields the scores without their thumbnails, which it writes to disk.

        Raises `ConfigurationError` if a thumbnail cannot be written.
        """
        for score in scores:
            if score.appearance is not None and score.appearance.thumbnail is not None:
                with _writing(self._path):
                    start = self._thumbnails.seek(0, os.SEEK_END)
                    self._places[score.path] = (start, self._thumbnails.write(score.appearance.thumbnail))
                score = replace(score, appearance=replace(score.appearance, thumbnail=None))
            yield score

    def written(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields each score after it was written to the sheet. Raises `ConfigurationError` if it cannot be written."""
        page: Any = templates_of("requestor.scoring").get_template("contact_sheet.html").module
        failures = []
        folders: dict[str, FolderSummary] = {}
        self._write(page.beginning(_policy(page.beginning("", _WIDTHS) + page.end([], {})), _WIDTHS))
        for score in scores:
            if score.aesthetic_score is not None:
                self._write(page.item(self._item(score)))
                self.photos += 1
                folder = printable(os.path.dirname(score.path)) or "."
                folders.setdefault(folder, FolderSummary()).add(score.aesthetic_score)
            else:
                failures.append(printable(score.error or ""))
            yield score
        self._write(page.end(failures, folders))

    def _item(self, score: Score) -> dict[str, Any]:
        """Returns the values of a photo that the template shows."""
        assert score.aesthetic_score is not None
        assert score.probabilities is not None
        assert score.stars is not None
        assert score.width is not None
        assert score.height is not None
        start, length = self._places[score.path]
        self._thumbnails.seek(start)
        picture = base64.b64encode(self._thumbnails.read(length)).decode()
        width = min(max(round(20 * score.width / score.height), _WIDTHS[0]), _WIDTHS[-1])
        data = {
            "score": f"{score.aesthetic_score:.4f}",
            "spread": f"{score.std:.4f}",
            "above": f"{score.percentile:.1f}",
            "population": score.population,
        }
        if score.appearance is not None and score.appearance.taken is not None:
            data["taken"] = score.appearance.taken.isoformat()
        mark = ""
        if score.group is not None:
            data["group"] = str(score.group.number)
            if score.group.size > 1:
                mark = f"best of {score.group.size}" if score.group.best else f"{score.group.size} alike"
        path = printable(score.path)
        return {
            "best": score.group is not None and score.group.best,
            "width": width,
            "data": data,
            # A relative path with every special byte quoted, so that no name can be read as anything but a path.
            "link": quote(os.fsencode(os.path.relpath(score.path, self._path.parent))),
            "picture": picture,
            "mark": mark,
            "score": f"{score.aesthetic_score:.2f}",
            "rank": f"above {score.percentile:.0f}% · ±{score.std:.2f}",
            "stars": "★" * score.stars,
            "bars": _bars(score.probabilities),
            "path": path,
            "name": Path(path).name,
        }

    def _write(self, text: str) -> None:
        with _writing(self._path):
            self._page.write(text.encode())


def _policy(page: str) -> str:
    """Returns a content security policy that allows the sheet's own script and style, and thumbnails."""
    return (
        f"default-src 'none'; img-src data:; style-src {inline_sources(page, 'style')}; "
        f"script-src {inline_sources(page, 'script')}; base-uri 'none'; form-action 'none'"
    )


@contextmanager
def contact_sheet(path: Path) -> Iterator[ContactSheet]:
    """Yields a sheet, which is written to `path` if the block raises no error and the sheet has photos.

    An existing file is replaced only if it is a contact sheet, too. Raises `ConfigurationError` if the sheet cannot be
    written.
    """
    check_replaceable(path)
    path = Path(os.path.realpath(path))
    with _writing(path):
        page = AtomicFile(path)
    try:
        # The thumbnails are not kept in the system's folder for temporary files, which may be in memory.
        with tempfile.TemporaryFile(dir=path.parent) as thumbnails:
            sheet = ContactSheet(path, page.file, thumbnails)
            yield sheet
        if sheet.photos:
            check_replaceable(path)
            with _writing(path):
                page.keep()
    finally:
        page.discard()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"--html {path} cannot be written ({error.strerror}). Choose another file.") from error


def check_replaceable(path: Path) -> None:
    """Raises `ConfigurationError` if the file exists and is no contact sheet."""
    try:
        if not os.path.lexists(path):
            return
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_BEGINNING)) == _BEGINNING:
                    return
    except OSError:
        pass
    raise ConfigurationError(
        f"--html {path} is there and is no contact sheet. Only contact sheets are replaced: choose another file."
    )


def _bars(probabilities: tuple[float, ...]) -> str:
    """Returns a histogram of the probabilities as the path of an SVG of 100 by 40 units."""
    highest = max(probabilities)
    return "".join(f"M{10 * x + 1} 40v-{40 * p / highest:.1f}h8V40z" for x, p in enumerate(probabilities))
