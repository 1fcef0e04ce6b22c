"""Measures the speed of scoring photos, against the limits of decoding alone and the network alone, in one run.

    python scripts/benchmarks/score.py --photos 96 --runtime onnx
    python scripts/benchmarks/score.py --cold-only --runtime onnx

"Decoding" is Pillow's decoding of all pixels and nothing else. "Reading" is what scoring does instead: a reduced decode
and the reduction to AVA's size. Reading and the network share the cores. If both keep all cores busy, no program can
exceed 1 / (1/reading + 1/network). The slower of the two is the limit only if the network runs elsewhere (on a GPU).
The plain loop is what most other programs do: Pillow decodes one photo at a time, whole, and the same network scores it
alone. After that comes one photo from a cold start, against `import torch`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from nima.photos import AVA_LONG_SIDE, read_photo
from nima.scoring import DEFAULT_MODEL, Scorer
from nima.weights import find_model

WIDTH, HEIGHT = 4000, 3000
DISTINCT = 8
MEASURED = ("decoding", "reading", "network", "scoring", "plain_loop")
INPUT_SIZE = 224


def draw_photos(folder: Path, photos: int) -> list[Path]:
    """Draws JPEGs of 12 megapixels and about 5 MB each, the size of a phone's photo; a few photos under many names."""
    paths = [folder / f"{index:05}.jpg" for index in range(photos)]
    for index, path in enumerate(paths):
        if index >= DISTINCT:
            path.hardlink_to(paths[index % DISTINCT])
            continue
        random = np.random.default_rng(index)
        coarse = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = random.normal(0, 5, (HEIGHT, WIDTH, 1)).astype(np.int16)
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return paths


@dataclass(frozen=True)
class Pace:
    """Holds photos per second, and core seconds per photo, which other programs on the machine disturb less."""

    rate: float
    core_seconds: float


def pace(photos: int, work: Callable[[], object]) -> Pace:
    """Measures work on so many photos."""
    started, cores_started = time.perf_counter(), time.process_time()
    work()
    return Pace(photos / (time.perf_counter() - started), (time.process_time() - cores_started) / photos)


def decode(path: Path) -> None:
    """Decodes all pixels of a photo."""
    with Image.open(path) as image:
        image.load()


def read(path: Path) -> None:
    """Reads a photo as scoring does."""
    read_photo(path, AVA_LONG_SIDE)


def for_all(paths: list[Path], threads: int, work: Callable[[Path], None]) -> None:
    """Does work for all photos, in so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, paths):
            pass


def predict_all(scorer: Scorer, photos: int, batch_size: int) -> None:
    """Runs the network on so many random photos, in batches."""
    random = np.random.default_rng(0)
    batch = list(random.integers(0, 256, (batch_size, INPUT_SIZE, INPUT_SIZE, 3), np.uint8))
    for _ in range(photos // batch_size):
        scorer.predict(batch)


def plain_loop(scorer: Scorer, paths: list[Path]) -> None:
    """Scores one photo at a time, as most other programs do."""
    for path in paths:
        with Image.open(path) as photo:
            squeezed = photo.convert("RGB").resize((INPUT_SIZE, INPUT_SIZE))
        scorer.predict([np.asarray(squeezed)])


def cold_start(photo: Path, options: list[str], runs: int = 5) -> dict[str, float]:
    """Scores one photo with the command, several times.

    Returns the medians of its seconds and its core seconds, as multiples of those of `import torch`.
    """
    bare = [sys.executable, "-c", "import torch"]
    scoring = [sys.executable, "-m", "requestor.commands.main", "score", str(photo), "--quiet", "--no-cache", *options]
    for command in (bare, scoring):  # the first run reads files from disk and converts the model, which is not measured
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    pairs = [(seconds_of(bare), seconds_of(scoring)) for _ in range(runs)]
    seconds, core_seconds = (median(pair[1][index] / pair[0][index] for pair in pairs) for index in (0, 1))
    return {"of_seconds": round(seconds, 2), "of_core_seconds": round(core_seconds, 2)}


def seconds_of(command: list[str]) -> tuple[float, float]:
    """Returns the seconds that a command takes, and its core seconds."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500, help="12-megapixel photos a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold-only", action="store_true", help="measure the cold start alone")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runtime", choices=["torch", "onnx"], default="torch")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    command = ["--device", options.device, "--model", options.model, "--runtime", options.runtime]
    if options.cold_only:
        with tempfile.TemporaryDirectory() as folder:
            photo = draw_photos(Path(folder), 1)[0]
            print(json.dumps({"cold_start_times_import_torch": cold_start(photo, command)}))
        return
    threads = os.cpu_count() or 1
    photos = options.photos // options.batch_size * options.batch_size
    scorer = Scorer(
        find_model(options.model),
        device=options.device,
        batch_size=options.batch_size,
        threads=threads,
        runtime=options.runtime,
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_photos(Path(folder), photos)
        few = paths[: max(DISTINCT, photos // 5)]  # for the plain loop, because it is by far the slowest
        predict_all(scorer, options.batch_size, options.batch_size)
        rounds = []
        for _ in range(options.rounds):
            decoding = pace(photos, lambda: for_all(paths, threads, decode))
            reading = pace(photos, lambda: for_all(paths, threads, read))
            network = pace(photos, lambda: predict_all(scorer, photos, options.batch_size))
            whole = pace(photos, lambda: list(scorer.score(paths)))
            plain = pace(len(few), lambda: plain_loop(scorer, few))
            rounds.append((decoding, reading, network, whole, plain))
        started = cold_start(paths[0], command)
    result = {
        "photos": photos,
        "runtime": options.runtime,
        "cores": threads,
        "per_second": {
            name: round(median(one[index].rate for one in rounds), 2) for index, name in enumerate(MEASURED)
        },
        "core_milliseconds": {
            name: round(1000 * median(one[index].core_seconds for one in rounds), 1)
            for index, name in enumerate(MEASURED)
        },
        # Ratios within one round, because the machine may be slower in another.
        "of_decoding_or_network": round(median(s.rate / min(d.rate, n.rate) for d, _, n, s, _ in rounds), 3),
        "of_reading_or_network": round(median(s.rate / min(r.rate, n.rate) for _, r, n, s, _ in rounds), 3),
        "of_the_shared_cores": round(median(s.rate * (1 / r.rate + 1 / n.rate) for _, r, n, s, _ in rounds), 3),
        "of_the_plain_loop": round(median(s.rate / plain.rate for _, _, _, s, plain in rounds), 3),
        "cold_start_times_import_torch": started,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
