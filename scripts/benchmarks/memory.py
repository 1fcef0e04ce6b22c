"""Measures the memory of `nima-golem train` and of its providers, and the time of each stage, for more and more photos.

    python scripts/benchmarks/memory.py --photos 600 2000 [--workers 2] [--json] [-- --strategy fine-tune --rounds 2]

Arguments after `--` go to the command, which runs with the local backend. Only the first 600 photos are drawn, because
drawing takes long; the others are made of them by cropping, mirroring and compressing again, with the same votes. So
the quality of the model means nothing, as photos of the test are variations of photos that were trained on.

The memory of a process is what Linux counts as resident (VmHWM, VmRSS), with the pages of files that it has mapped.
`laptop` is the process of the command, `provider` the largest of the provider programs. A stage's part is the time in
which providers computed, divided by their number; or, in a stage without providers, its whole time. The rest is
waiting.
"""

from __future__ import annotations

import argparse
import io
import json
import runpy
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from nima.ava import image_path, read_ratings
from nima.tiny_ava import draw_tiny_ava

DRAWN = 600
FIRST_VARIATION = 2_000_000  # id of the first photo that is not drawn; the ids of drawn ones are smaller
PAUSE = 0.05  # seconds between two samples
SMALLEST_CROP = 0.85  # share of each side that a variation keeps at least


@dataclass(frozen=True)
class Sample:
    """A measurement at one moment: time in seconds, resident MB of the laptop's process, and of each provider."""

    time: float
    laptop: float
    providers: dict[int, float]


@dataclass(frozen=True)
class Stage:
    """One stage: its time in seconds, its part (see above), and the largest memory in MB that was seen in it."""

    name: str
    seconds: float
    part: float
    laptop_mb: float
    provider_mb: float


@dataclass(frozen=True)
class Run:
    """One run.

    photos: number of photos of the data set.
    laptop_mb, provider_mb: largest memory of the laptop's process, and of a provider program.
    seconds: time of the command.
    explained: share of this time that is the sum of the parts.
    stages: its stages, in order; a stage that came again counts once.
    """

    photos: int
    laptop_mb: float
    provider_mb: float
    seconds: float
    explained: float
    stages: list[Stage] = field(default_factory=list)


def make_ava(folder: Path, photos: int) -> None:
    """Draws a tiny-AVA of at most `DRAWN` photos, and adds variations of them up to the number of photos."""
    draw_tiny_ava(folder, min(photos, DRAWN))
    shutil.rmtree(folder / "splits")  # its list of test photos would name drawn photos only
    ratings = read_ratings(folder)
    with ProcessPoolExecutor() as pool, (folder / "AVA.txt").open("a") as listed:
        numbers = range(len(ratings), photos)
        for number, jpeg in zip(
            numbers, pool.map(partial(vary, folder, ratings.image_ids), numbers, chunksize=32), strict=True
        ):
            image_id = FIRST_VARIATION + number
            image_path(folder, image_id).write_bytes(jpeg)
            votes = ratings.votes[number % len(ratings)]
            listed.write(" ".join(map(str, [number + 1, image_id, *votes, 0, 0, 0])) + "\n")


def vary(folder: Path, drawn: np.ndarray, number: int) -> bytes:
    """Returns a variation of a drawn photo as a JPEG: a random part of it, perhaps mirrored."""
    random = np.random.default_rng(number)
    with Image.open(image_path(folder, int(drawn[number % len(drawn)]))) as photo:
        width, height = (round(side * random.uniform(SMALLEST_CROP, 1)) for side in photo.size)
        left, top = int(random.integers(photo.width - width + 1)), int(random.integers(photo.height - height + 1))
        part = photo.crop((left, top, left + width, top + height))
    content = io.BytesIO()
    (ImageOps.mirror(part) if random.integers(2) else part).save(content, "JPEG", quality=int(random.integers(80, 95)))
    return content.getvalue()


class Watcher(threading.Thread):
    """Samples the memory of a process and of its provider programs until the process ends."""

    def __init__(self, process: int) -> None:
        super().__init__()
        self.samples: list[Sample] = []
        self.highest = 0.0
        self._process = process
        self._programs: dict[int, bool] = {}

    def run(self) -> None:
        while (laptop := megabytes(self._process, "VmRSS")) > 0:
            self.highest = max(self.highest, megabytes(self._process, "VmHWM"))
            programs = {child: megabytes(child, "VmHWM") for child in self._provider_programs()}
            self.samples.append(Sample(time.monotonic(), laptop, programs))
            time.sleep(PAUSE)

    def _provider_programs(self) -> list[int]:
        found: list[int] = []
        for path in Path(f"/proc/{self._process}/task").glob("*/children"):
            found += map(int, read(path).split())
        return [child for child in found if "provider_image" in read(Path(f"/proc/{child}/cmdline"))]


def megabytes(process: int, name: str) -> float:
    """Returns a figure of /proc/PROCESS/status in MB; 0 if the process has ended."""
    _, found, rest = read(Path(f"/proc/{process}/status")).partition(f"{name}:")
    return int(rest.split()[0]) * 1024 / 1e6 if found else 0.0


def read(path: Path) -> str:
    """Returns the text of a file of /proc; empty if its process has ended."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def measure(folder: Path, photos: int, workers: int, options: list[str]) -> Run:
    """Makes a data set of so many photos in the folder, trains on it, and returns what was measured."""
    ava, log = folder / "ava", folder / "stages"
    make_ava(ava, photos)
    log.touch()
    command = [
        sys.executable, __file__, "--inside", str(log), "--", "train", "--ava", str(ava), "--budget", "2GLM",
        "--backend", "local", "--workers", str(workers), "--run-dir", str(folder / "run"), "--json", *options,
    ]  # fmt: skip
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watcher = Watcher(process.pid)
        watcher.start()
    watcher.join()
    ended = time.monotonic()
    if process.returncode:
        raise SystemExit(f"the training of {photos} photos ended with exit code {process.returncode}")
    begun = [
        (started, "Starting"),
        *((float(at), name) for at, name in (line.split(" ", 1) for line in log.read_text().splitlines())),
    ]
    stages = stages_of(begun, ended, watcher.samples, workers)
    seconds = ended - started
    return Run(
        photos, watcher.highest, max((stage.provider_mb for stage in stages), default=0.0), seconds,
        sum(stage.part for stage in stages) / seconds, stages,
    )  # fmt: skip


def stages_of(begun: list[tuple[float, str]], ended: float, samples: list[Sample], workers: int) -> list[Stage]:
    """Returns the stages, given the time at which each began, and its name."""
    found: dict[str, Stage] = {}
    for (start, name), (end, _) in zip(begun, [*begun[1:], (ended, "")], strict=True):
        inside = [sample for sample in samples if start <= sample.time < end]
        providers = [memory for sample in inside for memory in sample.providers.values()]
        busy = len(providers) / max(len(inside), 1) * (end - start) / workers
        before = found.get(name, Stage(name, 0.0, 0.0, 0.0, 0.0))
        found[name] = Stage(
            name,
            before.seconds + end - start,
            before.part + (busy if providers else end - start),
            max([before.laptop_mb, *(sample.laptop for sample in inside)]),
            max([before.provider_mb, *providers]),
        )
    return list(found.values())


def run_inside(log: Path, arguments: list[str]) -> None:
    """Runs `nima-golem` with these arguments in this process, and notes the time at which each stage begins."""
    from requestor.terminal import RunProgress

    begin = RunProgress.stage

    def stage(progress: RunProgress, name: str, *others: Any, **more: Any) -> None:
        with log.open("a") as file:
            file.write(f"{time.monotonic()} {name}\n")
        begin(progress, name, *others, **more)

    RunProgress.stage = stage  # type: ignore[assignment, method-assign]
    sys.argv = ["nima-golem", *arguments]
    runpy.run_module("requestor.commands.main", run_name="__main__")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[600, 20_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs="*", help="of nima-golem train")
    arguments = parser.parse_args()
    if arguments.inside is not None:
        run_inside(arguments.inside, arguments.options)
        return
    runs = []
    for photos in arguments.photos:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(Path(folder), photos, arguments.workers, arguments.options))
    if arguments.json:
        print(json.dumps({"workers": arguments.workers, "runs": [asdict(run) for run in runs]}))
        return
    for run in runs:
        print(
            f"{run.photos:,} photos: laptop {run.laptop_mb:.0f} MB, provider {run.provider_mb:.0f} MB, "
            f"{run.seconds:.0f} s, of which the parts explain {run.explained:.0%}"
        )
        for stage in run.stages:
            print(
                f"  {stage.name:<24}{stage.seconds:8.1f} s {stage.part:8.1f} s "
                f"{stage.laptop_mb:6.0f} MB {stage.provider_mb:6.0f} MB"
            )


if __name__ == "__main__":
    main()
