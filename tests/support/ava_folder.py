"""Makes a small folder in AVA's layout for tests: photos whose rating follows from their brightness alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def make_ava_folder(folder: Path, images: int = 48, tested: int = 10, seed: int = 0) -> Path:
    """Writes `AVA.txt`, `images/` and `splits/test.txt`; ids from 1000 on, 210 votes each. Returns `folder`."""
    (folder / "images").mkdir(parents=True)
    (folder / "splits").mkdir()
    random = np.random.default_rng(seed)
    rows = []
    for index in range(images):
        brightness = random.uniform(20, 230)
        pixels = brightness + random.normal(0, 10, (240, 320, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{1000 + index}.jpg")
        distance = np.arange(1, 11) - (2 + 6 * brightness / 255)
        shares = np.exp(-0.5 * (distance / 1.4) ** 2)
        votes = random.multinomial(210, shares / shares.sum())
        rows.append(" ".join(map(str, [index + 1, 1000 + index, *votes, 0, 0, 0])))
    (folder / "AVA.txt").write_text("\n".join(rows) + "\n")
    (folder / "splits" / "test.txt").write_text("".join(f"{1000 + index}\n" for index in range(tested)))
    return folder
