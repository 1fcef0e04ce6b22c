"""Imports data sets of rated photos, from CSV files, published data sets and the photos themselves, into AVA's layout.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from nima.ava import Dataset, read_ratings
    >>> from nima.datasets import find_source, import_dataset
    >>> folder = tempfile.TemporaryDirectory()
    >>> root = Path(folder.name)
    >>> Image.new("RGB", (60, 40)).save(root / "flower.jpg")
    >>> _ = (root / "stars.csv").write_text("path,stars\\nflower.jpg,5\\nlost.jpg,3\\n")
    >>> source = find_source(root / "stars.csv")
    >>> report = import_dataset(source, root / "ava", Dataset("mine", raters="me", private=True))
    >>> report.photos, [str(refusal) for refusal in report.refused]
    (1, ['stars.csv: line 3: lost.jpg does not exist'])
    >>> read_ratings(root / "ava").votes.tolist()
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]]
    >>> folder.cleanup()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.datasets.finding import find_source
    from nima.datasets.importing import ImportReport, import_dataset
    from nima.datasets.published import PUBLISHED
    from nima.datasets.rated_folder import folder_source
    from nima.datasets.rows import DatasetImportError, RatedPhoto, RatedSource, Refusal
    from nima.datasets.scales import AVA_SCALE, STAR_SCALE, Scale, votes_of_moments, votes_on
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "finding": ["find_source"],
            "importing": ["ImportReport", "import_dataset"],
            "published": ["PUBLISHED"],
            "rated_folder": ["folder_source"],
            "rows": ["DatasetImportError", "RatedPhoto", "RatedSource", "Refusal"],
            "scales": ["AVA_SCALE", "STAR_SCALE", "Scale", "votes_of_moments", "votes_on"],
        },
    )

__all__ = [
    "AVA_SCALE",
    "PUBLISHED",
    "STAR_SCALE",
    "DatasetImportError",
    "ImportReport",
    "RatedPhoto",
    "RatedSource",
    "Refusal",
    "Scale",
    "find_source",
    "folder_source",
    "import_dataset",
    "votes_of_moments",
    "votes_on",
]
