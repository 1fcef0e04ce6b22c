"""Measures what a provider is paid for before it computes: the time from the program's start to its first batch.

    python scripts/benchmarks/cold_start.py --runs 5
    python scripts/benchmarks/cold_start.py --runs 5 --image provider.gvmi    # as Golem's VM starts it, without the VM

It measures one core, in CPU seconds, which other programs on the machine change little. `import torch` alone is the
unit: the program should need less than 1.5 times as much until its first batch. After that come the time for one photo,
and what a second round saves by keeping the frozen blocks' output (`provider_image/kept_activations.py`). GLM are at
golemsp's default price: 0.025 GLM per hour of CPU, and a fifth of that per hour of time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nima.model import checkpoint, initial_model
from nima.safe_io import sha256_of
from nima.training import standardise_features
from nima.wire import PROTOCOL, Job, default_plan, write_shard
from provider_image.synthetic import synthetic_shard
from requestor.image import STORE_FOLDER, python_in_labels
from requestor.vm import ImageCache, Sandbox, SandboxLayout, UnpackedImage
from requestor.vm.sandbox import Program

GLM_A_SECOND = 1.2 * 0.025 / 3600  # one busy thread: CPU, and time at a fifth of it

TORCH = "import time, torch; print(time.process_time())"
PROGRAM = """
import json, sys, time
marks = {}
def mark(name):
    marks[name] = time.process_time()
import torch
mark("import torch")
from pathlib import Path
from provider_image import work
from provider_image.__main__ import read_job
mark("other imports")
path = Path(sys.argv[1])
job = read_job(path)
torch.set_num_threads(1)
model = work._load_model(job, path.parent)
mark("model")
shards = [work.read_shard(work.check_sha256(work._stored(job, name), name)) for name in job.shards]
mark("shard")
from nima.model.preparation import decode_image
from nima.training.features import embed
for jpeg in shards[0].jpegs:
    decode_image(jpeg)
mark("decoding")
embed(model, shards[0].jpegs)
mark("features")
work._train(job, path.parent, model, shards)
mark("first round")
work._train(job, path.parent, model, shards)
mark("second round")
print(json.dumps(marks))
"""
STARTING = ("import torch", "other imports", "model", "shard")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--image", type=Path, help="measure the program in this image, in the devnet's sandbox")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, place(options.image, Path(scratch)) as (run, store, seen_as):
        job = prepare(store, seen_as, options.backbone, options.photos)
        run(TORCH)  # the first run reads files from disk, which is not measured
        bare = statistics.median(float(run(TORCH)) for _ in range(options.runs))
        runs = []
        for _ in range(options.runs):
            for kept in store.glob("*.activations"):
                kept.unlink()
            runs.append(stages(run(PROGRAM, job)))
    seconds = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    figures = Figures(options.backbone, options.photos, bare, seconds)
    print(json.dumps(figures.as_json()) if options.json else figures.as_table())


@dataclass(frozen=True)
class Figures:
    """Holds CPU seconds on one core: of `import torch` alone, and of each stage of the program."""

    backbone: str
    photos: int
    bare: float
    seconds: dict[str, float]

    @property
    def start(self) -> float:
        """Returns the seconds until the first batch can be computed."""
        return sum(self.seconds[name] for name in STARTING)

    @property
    def saved(self) -> float:
        """Returns the seconds that are saved per photo, in every round but the first."""
        return (self.seconds["first round"] - self.seconds["second round"]) / self.photos

    def as_json(self) -> dict[str, object]:
        """Returns the figures for `--json`."""
        return {
            "backbone": self.backbone,
            "import_torch_s": round(self.bare, 3),
            "until_first_batch_s": round(self.start, 3),
            "times_import_torch": round(self.start / self.bare, 2),
            "until_first_batch_glm": round(self.start * GLM_A_SECOND, 9),
            "stages_s": {name: round(self.seconds[name], 3) for name in STARTING},
            "decoding_ms_a_photo": round(1000 * self.seconds["decoding"] / self.photos, 2),
            "features_ms_a_photo": round(1000 * self.seconds["features"] / self.photos, 2),
            "kept_saves_s_a_1000_photos": round(1000 * self.saved, 1),
            "kept_saves_glm_a_1000_photos": round(1000 * self.saved * GLM_A_SECOND, 9),
        }

    def as_table(self) -> str:
        """Returns the figures as a table of text."""
        lines = [f"import torch alone        {self.bare:7.3f} s"]
        lines += [f"  {name:<23} {self.seconds[name]:7.3f} s" for name in STARTING]
        times = f"{self.start / self.bare:.2f} × import torch"
        lines += [
            f"until the first batch     {self.start:7.3f} s   {times}   {glm(self.start)}",
            f"decoding, a photo         {1000 * self.seconds['decoding'] / self.photos:7.2f} ms",
            f"features, a photo         {1000 * self.seconds['features'] / self.photos:7.2f} ms, decoding included",
        ]
        for name in ("first round", "second round"):
            lines.append(f"{name:<25} {self.seconds[name]:7.3f} s   {self.photos} photos   {glm(self.seconds[name])}")
        every = "less in every round but the first"
        lines.append(f"kept, for 1,000 photos    {1000 * self.saved:7.1f} s {every}   {glm(1000 * self.saved)}")
        return "\n".join(lines)


Run = Callable[..., str]
"""Runs a program, given as Python text, with arguments, and returns the last line that it prints."""


@contextmanager
def place(image: Path | None, scratch: Path) -> Iterator[tuple[Run, Path, str]]:
    """Yields a function that runs programs (with this Python or an image's), a store, and its path for the programs."""
    store = scratch / "store"
    store.mkdir()
    if image is None:
        yield run_here, store, str(store)
        return
    unpacked = asyncio.run(ImageCache(scratch / "images").unpack(image))
    (scratch / "root").mkdir()

    def run_in_image(*words: str) -> str:
        return asyncio.run(in_image(unpacked, store, scratch / "root", *words))

    yield run_in_image, store, STORE_FOLDER


def prepare(store: Path, seen_as: str, backbone: str, photos: int) -> str:
    """Writes a job and all that it needs to the store; returns the path of the job, as the program sees it."""
    shard = synthetic_shard(photos, 256)
    name = write_shard(store, shard.image_ids, np.asarray(shard.votes), shard.jpegs).sha256
    model = initial_model(backbone, None, 0, multi_level=True)
    standardise_features(model, shard.jpegs[:16])
    checkpoint.save(store / "base", model, {})
    base = sha256_of(store / "base")
    (store / "base").rename(store / f"{base}.safetensors")
    (store / "job").mkdir()
    plan = default_plan(photos, 0)
    job = Job(PROTOCOL, "train", "job", backbone, seen_as, base, (name,), plan, threads=1)
    (store / "job" / "job.json").write_text(job.to_json())
    return f"{seen_as}/job/job.json"


def run_here(program: str, *arguments: str) -> str:
    """Runs a program on one core, with an empty environment; returns the last line that it prints."""
    core = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={},
        preexec_fn=lambda: os.sched_setaffinity(0, core),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


async def in_image(image: UnpackedImage, store: Path, mount_point: Path, *words: str) -> str:
    """Runs a program in a new sandbox of one thread, without an environment; returns the last line that it prints."""
    said, complained = bytearray(), bytearray()
    sandbox = await Sandbox.boot(SandboxLayout.of_image(image.root, {STORE_FOLDER: store}, threads=1), mount_point)
    try:
        program = Program((python_in_labels(image.info.labels), "-c", *words), image.info.working_dir)
        status = await sandbox.run(program, said.extend, complained.extend)
    finally:
        await sandbox.stop()
    if status != 0:
        raise SystemExit(f"It ended with {status}: {complained.decode(errors='replace')}")
    return said.decode().splitlines()[-1]


def stages(marks: str) -> dict[str, float]:
    """Returns the seconds of each stage, from the seconds at its end."""
    ends = json.loads(marks)
    return dict(zip(ends, np.diff([0.0, *ends.values()]).tolist(), strict=True))


def glm(seconds: float) -> str:
    """Returns the price of so many seconds of one busy thread, as text."""
    return f"{seconds * GLM_A_SECOND:.7f} GLM"


if __name__ == "__main__":
    main()
