"""Rates photos in sidecars or in the photos themselves, and keeps the ratings that people have given.

`xmp:Rating` is −1 (rejected), 0 (unrated) or 1 to 5. A rating in the sidecar of either style and one inside the photo
count alike: it is a person's, or one from an earlier run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nima.xmp.embedded import properties_inside
from nima.xmp.exiftool import check_embeddable, embed_rating
from nima.xmp.packet import XmpError, label_in, property_values, rating_in, with_property
from nima.xmp.sidecars import SidecarOwners, SidecarStyle, new_or, read_sidecar, sidecar_path, write_sidecar

RatingPlace = SidecarStyle | Literal["embed"]


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
    """Writes ratings and colour labels into sidecars or into photos.

    place: "embed" for the photo itself, or the style of the sidecars.
    overwrite: True replaces the ratings and labels that photos have. Those inside a photo are only replaced with
        "embed"; photo managers read the sidecar first.
    initial_rating: a rating in a sidecar that counts as none, because a photo manager gives it to each new photo, as
        darktable gives 1; None for none.
    dry_run: True changes nothing on disk; the results and the errors are the same, but for those of exiftool.
    """

    place: RatingPlace
    overwrite: bool = False
    initial_rating: int | None = None
    dry_run: bool = False
    _owners: SidecarOwners = field(default_factory=SidecarOwners)

    def rate(self, photo: Path, rating: int, label: str | None = None) -> RatingResult:
        """Writes a rating, −1 or 1 to 5, and a label if there is one. A sidecar is made if there is none.

        Raises:
            XmpError: a sidecar is not XMP in UTF-8, cannot be read or written, or belongs to another photo; or the
                photo cannot be written.
            OSError: the photo or its folder cannot be read.
        """
        target = photo if self.place == "embed" else sidecar_path(photo, self.place)
        contents = {path: self._read(path) for path in self._sidecars(photo)}
        if not self.overwrite:
            for path, content in contents.items():
                if content is not None and (kept := self._kept(path, content)) is not None:
                    return RatingResult(kept, path, kept=True)
            inside = properties_inside(photo)
            if inside.rating is not None:
                return RatingResult(inside.rating, photo, kept=True)
            if inside.label is not None or any(self._label(path, content) for path, content in contents.items()):
                label = None  # a person's, which is kept
        self._check_owner(photo, target)
        if target == photo:
            self._embed(photo, rating, label)
        for path, content in contents.items():
            # A rating in another sidecar would contradict the new one.
            if path == target or (content is not None and property_values(content, "Rating")):
                self._write(path, content, rating, label)
        return RatingResult(rating, target, kept=False)

    def rating_of(self, photo: Path) -> int | None:
        """Returns the rating that a photo has, −1 (rejected) or 1 to 5, which `rate` would keep; None for none or 0.

        The sidecar in darktable's style counts first, then that in Lightroom's, then the rating inside the photo. No
        file is changed.

        Raises:
            XmpError: a sidecar is not XMP in UTF-8, or cannot be read.
            OSError: the photo or its folder cannot be read.
        """
        for sidecar in self._sidecars(photo):
            content = self._read(sidecar)
            if content is not None and (rating := self._rating(sidecar, content)) is not None:
                return rating
        return properties_inside(photo).rating

    def _sidecars(self, photo: Path) -> Iterator[Path]:
        yield sidecar_path(photo, "darktable")
        if self._owners.owner(photo) in (photo.name, None):
            yield sidecar_path(photo, "lightroom")

    def _check_owner(self, photo: Path, target: Path) -> None:
        if self.place == "lightroom" and self._owners.owner(photo) != photo.name:
            raise XmpError(
                f"{photo}: {target.name} would be the sidecar of {', '.join(self._owners.rivals(photo))}, too. Choose "
                "sidecars in the style of darktable, which each photo has for itself."
            )

    def _read(self, sidecar: Path) -> bytes | None:
        with _named(sidecar):
            return read_sidecar(sidecar)

    def _rating(self, sidecar: Path, content: bytes) -> int | None:
        with _named(sidecar):
            rating = rating_in(content)
        return None if rating == self.initial_rating else rating

    def _label(self, sidecar: Path, content: bytes | None) -> str | None:
        with _named(sidecar):
            return None if content is None else label_in(content)

    def _kept(self, sidecar: Path, content: bytes) -> int | None:
        """Returns the rating that a sidecar keeps; if a second one in it says unrated, that one is removed."""
        rating = self._rating(sidecar, content)
        if rating is not None:
            texts = [text.strip() for text in property_values(content, "Rating")]
            if len(texts) > 1 and all(text in ("", "0", str(rating)) for text in texts):
                self._write(sidecar, content, rating, None)
        return rating

    def _write(self, sidecar: Path, content: bytes | None, rating: int, label: str | None) -> None:
        with _named(sidecar):
            after = with_property(new_or(content), "Rating", str(rating))
            if label is not None:
                after = with_property(after, "Label", label)
            if after != content:
                write_sidecar(sidecar, after, self.dry_run)

    def _embed(self, photo: Path, rating: int, label: str | None) -> None:
        with _named(photo):
            inside = properties_inside(photo)
            if (inside.rating, inside.label) == (rating, inside.label if label is None else label):
                return
            if self.dry_run:
                check_embeddable(photo)
            else:
                embed_rating(photo, rating, label)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the name of a file before the messages of the block's errors."""
    try:
        yield
    except XmpError as error:
        raise XmpError(f"{path}: {error}") from error.__cause__
