"""Copies or links the chosen photos into a folder, and rates them."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from nima.errors import NimaError
from nima.safe_io import printable
from nima.scoring import Score
from requestor.scoring.marking import Marking

if TYPE_CHECKING:
    from nima.xmp import PhotoRater


@dataclass
class PhotoActions:
    """Acts on the chosen photos: copies, links and rates them.

    note: is called with a line for people for each action that fails, and for each that a dry run does not do.
    copy_to: folder to which the photos are copied; None for none.
    link_to: folder in which symbolic links to the photos are made; None for none.
    rater: writes the ratings; None for none. Its `dry_run` must be the same as here.
    marking: decides about ratings and labels.
    dry_run: True changes nothing on the disk.
    failures: number of actions that failed.
    rated, kept, not_rated: numbers of photos that were rated, that kept a rating, and whose rating failed.
    """

    note: Callable[[str], None]
    copy_to: Path | None = None
    link_to: Path | None = None
    rater: PhotoRater | None = None
    marking: Marking = field(default_factory=Marking)
    dry_run: bool = False
    failures: int = 0
    rated: int = 0
    kept: int = 0
    not_rated: int = 0
    _planned: dict[Path, Path] = field(default_factory=dict)  # in a dry run: file that would be made → its photo

    def on(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields `scores`, each after the actions on its photo; does nothing to photos without a score."""
        for score in scores:
            if score.stars is not None:
                photo = Path(score.path)
                for folder, put in ((self.copy_to, _copy), (self.link_to, _link)):
                    if folder is not None:
                        with self._told(photo):
                            self._put(photo, folder, put)
                if self.rater is not None:
                    self._rate(photo, score, self.rater)
            yield score

    def rating_summary(self) -> str | None:
        """Returns a line such as "31 rated, 4 kept, 0 failed"; None if no ratings were asked for."""
        if self.rater is None:
            return None
        counts = f"{self.rated} rated, {self.kept} kept, {self.not_rated} failed"
        return f"Dry run: {counts}" if self.dry_run else counts

    @contextmanager
    def _told(self, photo: Path) -> Iterator[None]:
        """Counts and reports an error in the block instead of raising it, so that the next photo is handled."""
        try:
            yield
        except (NimaError, OSError) as error:
            self.failures += 1
            reason = str(error) if isinstance(error, NimaError) else f"{photo}: {error.strerror or error}."
            self.note(printable(reason))

    def _put(self, photo: Path, folder: Path, put: Callable[[Path, Path], None]) -> None:
        """Puts a photo into a folder under its own name, with a number added if a file has that name already.

        It never replaces a file, and does nothing if the folder has the same photo already.
        """
        for number in count(1):
            target = folder / (photo.name if number == 1 else f"{photo.stem}-{number}{photo.suffix}")
            there = self._planned.get(target, target)
            if os.path.lexists(there):
                if _is_same(photo, there):
                    return
                continue
            if self.dry_run:
                self._planned[target] = photo
                self.note(printable(f"would write {target}"))
                return
            folder.mkdir(parents=True, exist_ok=True)
            try:
                put(photo, target)
            except FileExistsError:  # another program made the file first
                continue
            return

    def _rate(self, photo: Path, score: Score, rater: PhotoRater) -> None:
        failures = self.failures
        with self._told(photo):
            result = rater.rate(photo, self.marking.rating(score), self.marking.label(score))
            if result.kept:
                self.kept += 1
            else:
                self.rated += 1
            if self.dry_run:
                verb = "keep" if result.kept else "write"
                self.note(printable(f"would {verb} the rating {result.rating} in {result.path}"))
        self.not_rated += self.failures - failures


def _copy(photo: Path, target: Path) -> None:
    with photo.open("rb") as source, target.open("xb") as copy:
        try:
            shutil.copyfileobj(source, copy)
        except BaseException:
            target.unlink()
            raise
    shutil.copystat(photo, target)


def _link(photo: Path, target: Path) -> None:
    target.symlink_to(photo.absolute())


def _is_same(photo: Path, target: Path) -> bool:
    try:
        return target.samefile(photo) or filecmp.cmp(photo, target, shallow=False)
    except OSError:  # such as a link to a file that does not exist
        return False
