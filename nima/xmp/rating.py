"""Rates photos in their sidecars, and keeps the ratings that people have given.

`xmp:Rating` is −1 (rejected), 0 (unrated) or 1 to 5. A rating in the sidecar of either style and one inside the photo
count alike: it is a person's, or one from an earlier run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nima.xmp.embedded import rating_inside
from nima.xmp.packet import XmpError, property_values, rating_in, with_property
from nima.xmp.sidecars import SidecarOwners, SidecarStyle, new_or, read_sidecar, sidecar_path, write_sidecar


@dataclass(frozen=True)
class RatingResult:
    """The rating of a photo afterwards.

    rating: −1 (rejected), or 1 to 5.
    path: the file that has it.
    kept: True if it was there before and was kept, False if it was written.
    """

    rating: int
    path: Path
    kept: bool


@dataclass
class PhotoRater:
    """Writes ratings into sidecars.

    style: style of the sidecars.
    overwrite: True replaces the ratings that photos have in their sidecars. One inside the photo stays there, but photo
        managers read the sidecar first.
    initial_rating: a rating in a sidecar that counts as none, because a photo manager gives it to each new photo, as
        darktable gives 1; None for none.
    dry_run: True changes nothing on disk; the results and the errors are the same.
    """

    style: SidecarStyle
    overwrite: bool = False
    initial_rating: int | None = None
    dry_run: bool = False
    _owners: SidecarOwners = field(default_factory=SidecarOwners)

    def rate(self, photo: Path, rating: int) -> RatingResult:
        """Writes a rating, −1 or 1 to 5, into the photo's sidecar, which is made if there is none.

        Raises:
            XmpError: a sidecar is not XMP in UTF-8, cannot be read or written, or belongs to another photo.
            OSError: the photo or its folder cannot be read.
        """
        sidecar = sidecar_path(photo, self.style)
        contents = {path: self._read(path) for path in self._sidecars(photo)}
        if not self.overwrite:
            for path, content in contents.items():
                if content is not None and (kept := self._kept(path, content)) is not None:
                    return RatingResult(kept, path, kept=True)
            if (inside := rating_inside(photo)) is not None:
                return RatingResult(inside, photo, kept=True)
        if self.style == "lightroom" and self._owners.owner(photo) != photo.name:
            raise XmpError(
                f"{photo}: {sidecar.name} would be the sidecar of {', '.join(self._owners.rivals(photo))}, too. Choose "
                "sidecars in the style of darktable, which each photo has for itself."
            )
        for path, content in contents.items():
            # A rating in the sidecar of the other style would contradict the new one.
            if path == sidecar or (content is not None and self._rating(path, content) is not None):
                self._write(path, content, rating)
        return RatingResult(rating, sidecar, kept=False)

    def _sidecars(self, photo: Path) -> Iterator[Path]:
        yield sidecar_path(photo, "darktable")
        if self._owners.owner(photo) in (photo.name, None):
            yield sidecar_path(photo, "lightroom")

    def _read(self, sidecar: Path) -> bytes | None:
        with _named(sidecar):
            return read_sidecar(sidecar)

    def _rating(self, sidecar: Path, content: bytes) -> int | None:
        with _named(sidecar):
            rating = rating_in(content)
        return None if rating == self.initial_rating else rating

    def _kept(self, sidecar: Path, content: bytes) -> int | None:
        """Returns the rating that a sidecar keeps; if a second one in it says unrated, that one is removed."""
        rating = self._rating(sidecar, content)
        if rating is not None:
            texts = [text.strip() for text in property_values(content, "Rating")]
            if len(texts) > 1 and all(text in ("", "0", str(rating)) for text in texts):
                self._write(sidecar, content, rating)
        return rating

    def _write(self, sidecar: Path, content: bytes | None, rating: int) -> None:
        with _named(sidecar):
            after = with_property(new_or(content), "Rating", str(rating))
            if after != content:
                write_sidecar(sidecar, after, self.dry_run)


@contextmanager
def _named(sidecar: Path) -> Iterator[None]:
    """Puts the name of a sidecar before the messages of the block's errors."""
    try:
        yield
    except XmpError as error:
        raise XmpError(f"{sidecar}: {error}") from error.__cause__
