"""A contact sheet: one HTML file with the thumbnails and scores of photos, which needs nothing beside it.

Everything is written as it comes, and thumbnails wait on disk for the photos to be chosen and put in order, so that any
number of photos takes the same memory.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from nima.files import AtomicFile
from nima.score import Score
from nima.text import printable
from requestor.errors import ConfigurationError

_BEGINNING = b'<!doctype html>\n<html lang="en">\n<meta name="generator" content="nima-golem contact sheet">\n'
_NARROWEST, _WIDEST = 0.6, 2.6  # a photo's width by its height; what is beyond is cut by the page


class ContactSheet:
    """Takes scores as they come and again once they are chosen: `thumbnails_kept`, then `written`."""

    def __init__(self, path: Path, page: BinaryIO, thumbnails: BinaryIO) -> None:
        self._path, self._page, self._thumbnails = path, page, thumbnails
        self._places: dict[str, tuple[int, int]] = {}  # path → where its thumbnail begins, and its length
        self.photos = 0

    def thumbnails_kept(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Passes scores on without their thumbnails, which go to disk."""
        for score in scores:
            if score.appearance is not None and score.appearance.thumbnail is not None:
                with _writing(self._path):
                    start = self._thumbnails.seek(0, os.SEEK_END)
                    self._places[score.path] = (start, self._thumbnails.write(score.appearance.thumbnail))
                score = replace(score, appearance=replace(score.appearance, thumbnail=None))
            yield score

    def written(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Passes scores on once they are on the sheet."""
        template = files("requestor").joinpath("pages/contact_sheet.html").read_text(encoding="utf-8")
        before, rest = template.split("<!-- photos -->\n")
        middle, after = rest.split("<!-- failures -->\n")
        failures = []
        self._write(before)
        for score in scores:
            if score.error is None:
                self._write(self._item(score))
                self.photos += 1
            else:
                failures.append(score.error)
            yield score
        self._write(middle + _failures(failures) + after)

    def _item(self, score: Score) -> str:
        assert score.aesthetic_score is not None
        assert score.probabilities is not None
        assert score.stars is not None
        assert score.width is not None
        assert score.height is not None
        start, length = self._places[score.path]
        self._thumbnails.seek(start)
        picture = base64.b64encode(self._thumbnails.read(length)).decode()
        sides = min(max(score.width / score.height, _NARROWEST), _WIDEST)
        data = {
            "score": f"{score.aesthetic_score:.4f}",
            "spread": f"{score.std:.4f}",
            "above": f"{score.percentile:.1f}",
        }
        if score.appearance is not None and score.appearance.taken is not None:
            data["taken"] = score.appearance.taken.isoformat()
        mark = best = ""
        if score.group is not None:
            data["group"] = str(score.group.number)
            best = ' class="best"' if score.group.best else ""
            if score.group.size > 1:
                mark = f"best of {score.group.size}" if score.group.best else f"{score.group.size} alike"
                mark = f"<mark>{mark}</mark>"
        attributes = "".join(f' data-{name}="{value}"' for name, value in data.items())
        path = printable(score.path)
        # From the page to the photo, byte for byte, so that no name can be taken for anything but a path.
        link = quote(os.fsencode(os.path.relpath(score.path, self._path.parent)))
        return (
            f'<li{best} style="--sides:{sides:.3f}"{attributes}><a href="./{link}">'
            f'<img src="data:image/webp;base64,{picture}" alt="" loading="lazy" decoding="async">{mark}'
            f'<span class="figures"><b>{score.aesthetic_score:.2f}</b><i>{"★" * score.stars}</i>'
            f"{_histogram(score.probabilities)}</span>"
            f'<span class="name" title="{escape(path)}">{escape(Path(path).name)}</span></a></li>\n'
        )

    def _write(self, text: str) -> None:
        with _writing(self._path):
            self._page.write(text.encode())


@contextmanager
def contact_sheet(path: Path) -> Iterator[ContactSheet]:
    """A sheet that is at `path` once all went well; what is there is replaced only if it is a contact sheet, too, and
    only by a sheet with photos. Raises `ConfigurationError`."""
    check_replaceable(path)
    path = Path(os.path.realpath(path))
    with _writing(path):
        page = AtomicFile(path)
    try:
        # Not in the system's folder for temporary files, which may be in memory.
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
        raise ConfigurationError(f"--html {path} cannot be written ({error.strerror}).") from error


def check_replaceable(path: Path) -> None:
    """Raises `ConfigurationError` where a file is that is no contact sheet."""
    try:
        if not os.path.lexists(path):
            return
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_BEGINNING)) == _BEGINNING:
                    return
    except OSError:
        pass
    raise ConfigurationError(f"--html {path} is there and is no contact sheet, which alone is replaced; name another.")


def _histogram(probabilities: tuple[float, ...]) -> str:
    highest = max(probabilities)
    bars = "".join(f"M{10 * x + 1} 40v-{40 * p / highest:.1f}h8V40z" for x, p in enumerate(probabilities))
    return f'<svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true"><path d="{bars}"/></svg>'


def _failures(errors: list[str]) -> str:
    if not errors:
        return ""
    rows = "".join(f"<li>{escape(printable(error))}</li>\n" for error in errors)
    title = "1 photo could not be read" if len(errors) == 1 else f"{len(errors)} photos could not be read"
    return f"<details><summary>{title}</summary>\n<ul>\n{rows}</ul>\n</details>\n"
