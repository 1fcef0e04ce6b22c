"""Reads the ratings that photos carry: in sidecars of either style, in XMP inside the photo, or in its EXIF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nima.datasets.csv_file import RowError, star_votes
from nima.datasets.rows import DatasetImportError, RatedPhoto, RatedSource, Refusal, Row
from nima.datasets.scales import STAR_SCALE
from nima.photos import PHOTO_SUFFIXES
from nima.xmp import PhotoRater, XmpError


def folder_source(folder: Path, rejected_counts: bool) -> RatedSource:
    """Makes the source of a folder with rated photos; the folders inside it count, too.

    Hidden files and folders are passed over, and links to folders are not followed. A folder with an AVA.txt is passed
    over, too: it is a data set, which may have been made of these photos.

    Args:
        folder: the folder.
        rejected_counts: True counts rejected photos as one star, False passes over them.

    Raises `DatasetImportError` if there is no such folder.
    """
    if not folder.is_dir():
        raise DatasetImportError(f"{folder} is no folder with photos.")

    def rows() -> Iterator[Row]:
        rater = PhotoRater("darktable")
        for photo in _photos(folder):
            yield _row(photo, str(photo.relative_to(folder)), rater, rejected_counts)

    return RatedSource(folder.resolve().name, "the owner of the photos", "of the owner", folder, rows)


def _row(photo: Path, name: str, rater: PhotoRater, rejected_counts: bool) -> Row:
    try:
        return RatedPhoto(name, star_votes(rater.rating_of(photo) or 0, STAR_SCALE, rejected_counts), name)
    except RowError as error:
        return Refusal(error.kind, name, str(error))
    except XmpError as error:
        return Refusal("malformed", name, str(error))
    except OSError as error:
        return Refusal("unreadable", name, f"cannot be read ({error.strerror})")


def _photos(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        if "AVA.txt" in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES:
                yield Path(parent, name)
