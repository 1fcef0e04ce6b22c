#!/usr/bin/env python3
"""Compares encodings of the photos that are sent to providers: bytes, error of the features, time to encode.

    python scripts/benchmarks/photo_encodings.py FOLDER… [--model model.safetensors] [--json]

The folders hold real photos; AVA's own compress differently from drawn ones. The error of an encoding is the distance
between a photo's multi-level MobileNetV2 features with and without it, as a share of the mean distance between two
photos; its mean over the photos is compared with that of JPEG 90 at 256 px, photo by photo. With a trained model, the
change of the mean rating is measured, too. The time is the shortest of seven, on one core.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nima.model import Nima, checkpoint, find_backbone, initial_model
from nima.model.preparation import pixels_of
from nima.photos import open_photo
from nima.ratings import mean_rating
from nima.weights import fetch_weights

BACKBONE = "mobilenet_v2"
REFERENCE = "JPEG 90, 256 px"
REPETITIONS = 7
# name → format of Pillow, side in pixels, options
ENCODINGS: Mapping[str, tuple[str, int, dict[str, Any]]] = {
    REFERENCE: ("JPEG", 256, {"quality": 90}),
    "JPEG 90, optimised, 224 px": ("JPEG", 224, {"quality": 90, "optimize": True, "progressive": True}),
    "WebP 90, 256 px": ("WEBP", 256, {"quality": 90}),
    "WebP 89, 224 px": ("WEBP", 224, {"quality": 89}),
    "WebP 90, 224 px": ("WEBP", 224, {"quality": 90}),
    "WebP 89, method 2, 224 px": ("WEBP", 224, {"quality": 89, "method": 2}),
    "WebP 90, method 2, 224 px": ("WEBP", 224, {"quality": 90, "method": 2}),
    "AVIF 75, 256 px": ("AVIF", 256, {"quality": 75, "max_threads": 1}),
    "AVIF 75, speed 9, 256 px": ("AVIF", 256, {"quality": 75, "speed": 9, "max_threads": 1}),
}


@dataclass(frozen=True)
class Row:
    """Holds the figures of one encoding.

    bytes: mean size of a photo.
    ratio: the same as a share of the reference's.
    error: mean error of the features.
    worse, worse_error: mean difference of the error to the reference's, and its standard error over the photos.
    milliseconds: mean time to encode a photo on one core.
    mbits: megabits a second that two cores encode.
    rating: mean absolute change of the mean rating; None without a trained model.
    """

    encoding: str
    bytes: float
    ratio: float
    error: float
    worse: float
    worse_error: float
    milliseconds: float
    mbits: float
    rating: float | None


class Bench:
    def __init__(self, paths: Sequence[Path], model: Path | None) -> None:
        weights = fetch_weights(find_backbone(BACKBONE).weights)
        self._network = initial_model(BACKBONE, weights, seed=0, multi_level=True)
        self._rater = checkpoint.load(model)[0] if model else None
        self._preparation = preparation = self._network.preparation
        side = preparation.crop_from
        self._squares = [
            open_photo(path, preparation.long_side).resize((side, side), preparation.resampling, reducing_gap=3.0)
            for path in paths
        ]
        exact = self._pixels(self._squares)
        with torch.inference_mode():
            self._network.standardise_features([exact])
        self._exact = self._features(exact)
        count = len(self._exact)
        distances = [np.linalg.norm(self._exact[i] - self._exact[j]) for i in range(count) for j in range(i)]
        self._distance = float(np.mean(distances))
        self._ratings = self._rate(exact)
        self._reference: tuple[float, NDArray[np.float64]] | None = None

    def measure(self, name: str) -> Row:
        """Measures one encoding; the reference has to be the first."""
        file_format, side, options = ENCODINGS[name]
        images = [self._middle(square) if side < square.width else square for square in self._squares]
        files, seconds = zip(*(_encoded(image, file_format, options) for image in images), strict=True)
        pixels = self._pixels([Image.open(io.BytesIO(file)).convert("RGB") for file in files])
        errors = np.linalg.norm(self._features(pixels) - self._exact, axis=1) / self._distance
        size, fastest = float(np.mean([len(file) for file in files])), float(np.mean(seconds))
        if self._reference is None:
            self._reference = size, errors
        worse = errors - self._reference[1]
        ratings = self._rate(pixels)
        changed = None if ratings is None or self._ratings is None else float(abs(ratings - self._ratings).mean())
        return Row(
            name, size, size / self._reference[0], float(errors.mean()), float(worse.mean()),
            float(worse.std(ddof=1) / np.sqrt(len(worse))), 1000 * fastest, 2 * 8 * size / fastest / 1e6, changed,
        )  # fmt: skip

    def _middle(self, square: Image.Image) -> Image.Image:
        side = self._preparation.input_size
        start = (square.width - side) // 2
        return square.crop((start, start, start + side, start + side))

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        side = self._preparation.input_size
        middles = [self._middle(image) if image.width > side else image for image in images]
        return pixels_of(torch.from_numpy(np.stack([np.asarray(image) for image in middles])))

    def _features(self, pixels: Tensor) -> NDArray[np.float64]:
        self._network.eval()
        with torch.inference_mode():
            return np.asarray(self._network.features(pixels), dtype=np.float64)

    def _rate(self, pixels: Tensor) -> NDArray[np.float64] | None:
        if self._rater is None:
            return None
        with torch.inference_mode():
            return mean_rating(_probabilities(self._rater, pixels))


def _probabilities(model: Nima, pixels: Tensor) -> NDArray[np.float64]:
    return np.asarray(model(pixels).softmax(dim=1), dtype=np.float64)


def _encoded(image: Image.Image, file_format: str, options: dict[str, Any]) -> tuple[bytes, float]:
    """Encodes an image several times; returns the file, and the shortest time in seconds."""
    fastest, file = float("inf"), io.BytesIO()
    for _ in range(REPETITIONS):
        file, started = io.BytesIO(), time.process_time()
        image.save(file, file_format, **options)
        fastest = min(fastest, time.process_time() - started)
    return file.getvalue(), fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--model", type=Path, help="a trained model whose ratings are compared")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted(path for folder in options.folders for path in folder.iterdir() if path.suffix in (".jpg", ".png"))
    if len(paths) < 2:
        sys.exit("There are fewer than two photos (.jpg, .png) in these folders.")
    bench = Bench(paths, options.model)
    rows = [bench.measure(name) for name in ENCODINGS]
    if options.json:
        print(json.dumps({"photos": len(paths), "rows": [asdict(row) for row in rows]}))
        return
    print(f"{len(paths)} photos\n\n| encoding | kB | ratio | error | to the first | ms | Mbit/s | rating |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        rating = "" if row.rating is None else f"{row.rating:.4f}"
        print(
            f"| {row.encoding} | {row.bytes / 1000:.1f} | {row.ratio:.2f} | {row.error:.3f} "
            f"| {row.worse:+.3f} ± {row.worse_error:.3f} | {row.milliseconds:.1f} | {row.mbits:.0f} | {rating} |"
        )


if __name__ == "__main__":
    main()
