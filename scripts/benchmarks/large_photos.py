"""Measures the gain of bringing large photos to AVA's size before the default model resizes them to its input.

    python scripts/benchmarks/large_photos.py PHOTO…

Each photo is brought to the size that it would have in AVA, because the model learnt from that size. From there it is
enlarged to 4000 pixels with a camera's grain, to get the large photo that a user has. The score of the large photo
should be that of the small one. The output shows the distance between the two for each way from large to small, with
the rank correlation (SRCC) of the two over all photos.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from nima.photos import AVA_LONG_SIDE, open_photo
from nima.ratings import mean_rating
from nima.scoring import DEFAULT_MODEL, Scorer
from nima.weights import find_model

LARGE_SIDE = 4000
GRAIN = 6  # grey levels, as of a phone's sensor in daylight


def enlarged(photo: Image.Image, seed: int) -> bytes:
    """Returns a JPEG of 4000 pixels on the longer side, with grain in each of its own pixels."""
    scale = LARGE_SIDE / max(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    grainy = pixels + np.random.default_rng(seed).normal(0, GRAIN, (*pixels.shape[:2], 1)).astype(np.float32)
    file = BytesIO()
    Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()

    model = find_model(DEFAULT_MODEL)
    scorer = Scorer(model, device="cpu")
    prepare, side = scorer.preparation.rgb_bytes, scorer.preparation.input_size

    def score(image: NDArray[np.uint8]) -> float:
        return float(mean_rating(scorer.predict([image])[0]))

    def antialiased(image: Image.Image) -> NDArray[np.uint8]:
        return prepare(image.resize((side, side), Image.Resampling.LANCZOS))

    ways: dict[str, Callable[[bytes], NDArray[np.uint8]]] = {
        "AVA's size first, reduced decode": lambda file: prepare(open_photo(file, AVA_LONG_SIDE)),
        "AVA's size first, full decode": lambda file: prepare(full_decode(file)),
        "nearest neighbour on all pixels": lambda file: prepare(open_photo(file)),
        "antialiased straight to the input": lambda file: antialiased(open_photo(file)),
    }
    expected, found = [], {way: list[float]() for way in ways}
    for number, path in enumerate(options.photos):
        small = open_photo(path, AVA_LONG_SIDE)
        expected.append(score(prepare(small)))
        large = enlarged(small, number)
        for way, pixels in ways.items():
            found[way].append(score(pixels(large)))
    rows = {
        way: {
            "mean": float(np.abs(np.subtract(scores, expected)).mean()),
            "largest": float(np.abs(np.subtract(scores, expected)).max()),
            "srcc": float(spearmanr(scores, expected).statistic),
        }
        for way, scores in found.items()
    }
    if options.json:
        print(json.dumps({"photos": len(expected), "spread": float(np.std(expected)), "ways": rows}))
        return
    print(f"{len(expected)} photos, whose scores have a standard deviation of {np.std(expected):.2f}\n")
    print(f"{'':<36}{'mean':>8}{'largest':>9}{'SRCC':>7}")
    for way, row in rows.items():
        print(f"{way:<36}{row['mean']:>8.3f}{row['largest']:>9.3f}{row['srcc']:>7.3f}")


def full_decode(file: bytes) -> Image.Image:
    """Decodes all pixels of a photo, and brings it to AVA's size after that."""
    photo = open_photo(file)
    scale = AVA_LONG_SIDE / max(photo.size)
    return photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
