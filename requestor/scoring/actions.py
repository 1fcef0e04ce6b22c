"""Copies or links the chosen photos into a folder, and rates them in their sidecars."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from nima.errors import NimaError
from nima.safe_io import printable
from nima.scoring import Score, SidecarStyle, sidecar_path, write_rating


@dataclass
class PhotoActions:
    """Acts on the chosen photos: copies, links and rates them.

    note: is called with a line for people for each action that fails, and for each that a dry run does not do.
    copy_to: folder to which the photos are copied; None for none.
    link_to: folder in which symbolic links to the photos are made; None for none.
    xmp: style of the sidecars into which ratings are written; None for none.
    overwrite_ratings: True replaces ratings that a sidecar has already.
    dry_run: True changes nothing on the disk.
    failures: number of actions that failed.
    """

    note: Callable[[str], None]
    copy_to: Path | None = None
    link_to: Path | None = None
    xmp: SidecarStyle | None = None
    overwrite_ratings: bool = False
    dry_run: bool = False
    failures: int = 0

    def on(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Yields `scores`, each after the actions on its photo; does nothing to photos without a score."""
        for score in scores:
            if score.stars is not None:
                photo = Path(score.path)
                for folder, put in ((self.copy_to, _copy), (self.link_to, _link)):
                    if folder is not None:
                        with self._told(photo):
                            self._put(photo, folder, put)
                if self.xmp is not None:
                    with self._told(photo):
                        self._rate(photo, score.stars, self.xmp)
            yield score

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
            if os.path.lexists(target):
                if _is_same(photo, target):
                    return
                continue
            if self.dry_run:
                self.note(printable(f"would write {target}"))
                return
            folder.mkdir(parents=True, exist_ok=True)
            try:
                put(photo, target)
            except FileExistsError:  # another program made the file first
                continue
            return

    def _rate(self, photo: Path, stars: int, style: SidecarStyle) -> None:
        sidecar = sidecar_path(photo, style)
        written = write_rating(sidecar, stars, self.overwrite_ratings, self.dry_run)
        if written and self.dry_run:
            self.note(printable(f"would rate {sidecar} {stars}"))


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
