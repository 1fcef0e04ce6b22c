"""Draws small photos for data sets of rated photos, and imports such data sets."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from nima.ava import Dataset
from nima.datasets import ImportReport, RatedSource, import_dataset

ABOUT = Dataset(name="drawn", raters="nobody", licence="MIT", drawn=True)


def draw_photos(folder: Path, *names: str) -> Path:
    """Writes a small JPEG of its own grey for each name, whatever its suffix, with folders as needed."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (40 + 10 * number,) * 3).save(folder / name, "JPEG")
    return folder


def imported(source: RatedSource, out: Path, copy: bool = False) -> ImportReport:
    """Imports a source as a drawn data set."""
    return import_dataset(source, out, ABOUT, copy)
