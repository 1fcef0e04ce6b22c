"""Finds out which kind of source a path names."""

from __future__ import annotations

from pathlib import Path

from nima.datasets.csv_file import csv_source
from nima.datasets.published import PUBLISHED, published_source
from nima.datasets.rated_folder import folder_source
from nima.datasets.rows import DatasetImportError, RatedSource
from nima.datasets.scales import Scale


def find_source(
    path: Path,
    *,
    in_photos: bool = False,
    photos: Path | None = None,
    scale: Scale | None = None,
    rejected_counts: bool = False,
) -> RatedSource:
    """Returns the source of ratings at a path: a CSV file, the folder of a published data set, or of rated photos.

    Args:
        path: the file or folder.
        in_photos: True reads the ratings that the photos of the folder carry.
        photos: folder from which the paths of the photos begin; None for the one that belongs to the source.
        scale: the scale of means and stars in a CSV file.
        rejected_counts: True counts rejected photos (−1 stars) as the lowest rating, False passes over them.

    Raises `DatasetImportError` if there is no such path, or nothing in it is known.
    """
    if photos is not None and not photos.is_dir():
        raise DatasetImportError(f"{photos} is no folder with photos.")
    if in_photos:
        return folder_source(path, rejected_counts)
    if path.is_file():
        return csv_source(path, photos, scale, rejected_counts)
    if not path.is_dir():
        raise DatasetImportError(f"{path} does not exist.")
    source = published_source(path, photos)
    if source is None:
        raise DatasetImportError(
            f"{path} holds none of the data sets that are known ({', '.join(PUBLISHED)}; docs/data.md lists their "
            "files). Name a CSV file, or add --xmp if the photos themselves carry ratings."
        )
    return source
