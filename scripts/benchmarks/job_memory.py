"""Measures the memory of the largest jobs that a provider gets, by backbone.

    python scripts/benchmarks/job_memory.py [--backbones mobilenet_v2 …] [--json]

Each job is done by the provider's program in a process of its own, as in the image; its figure is the process's peak of
resident memory, with the pages of files that it has mapped (ru_maxrss), in MB. The shard is full, and its photos are
noise, which compresses least. A training has steps of 32 photos; more of them need no more memory, because photos are
computed a few at a time. `embed` computes the features of all levels, `last` trains the last three blocks and the head,
as the default strategy's rounds do, and `whole` trains everything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from nima.model import checkpoint, initial_model
from nima.model.backbones import BACKBONES
from nima.safe_io import sha256_of
from nima.wire import JOB_FILE, PROTOCOL, Job, TrainingPlan, default_plan, write_shard
from provider_image.synthetic import synthetic_shard
from requestor.planning import SHARD_IMAGES

DISTINCT = 30  # photos that are drawn; the shard holds them again and again
BLOCKS = {"embed": None, "last": 3, "whole": -1}
RUN = """
import resource, sys
from provider_image.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
raise SystemExit(code)
"""


def plan(blocks: int | None) -> TrainingPlan | None:
    """Returns a plan of two steps as the default strategy's rounds have them, or None for features."""
    return None if blocks is None else default_plan(images=5, seed=0, trainable_blocks=blocks)


def peak(folder: Path, job: Job) -> float:
    """Does a job, and returns the largest memory of its process in MB."""
    folder.mkdir()
    (folder / JOB_FILE).write_text(job.to_json())
    command = [sys.executable, "-c", RUN, str(folder / JOB_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the job {job.job_id} with {job.backbone} failed: {done.stderr.strip()[-300:]}")
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def measure(backbone: str) -> dict[str, float]:
    """Returns the peak of each kind of job, in MB."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch)
        model = initial_model(backbone, None, 0, multi_level=True)
        checkpoint.save(store / "draft", model, {})
        base = sha256_of(store / "draft")
        (store / "draft").rename(store / f"{base}.safetensors")
        jpegs = synthetic_shard(DISTINCT, model.preparation.stored_size).jpegs
        photos = [jpegs[number % DISTINCT] for number in range(SHARD_IMAGES)]
        votes = np.ones((SHARD_IMAGES, 10), dtype=np.int32)
        shard = write_shard(store, np.arange(SHARD_IMAGES), votes, photos).sha256
        few = write_shard(store, np.arange(DISTINCT), votes[:DISTINCT], photos[:DISTINCT]).sha256
        peaks = {}
        for name, blocks in BLOCKS.items():
            job = Job(
                PROTOCOL, "embed" if blocks is None else "train", name, backbone, str(store), base,
                (few if blocks is None else shard,), plan(blocks), threads=0,
            )  # fmt: skip
            peaks[name] = peak(store / name, job)
        return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for backbone in arguments.backbones:
        peaks = measure(backbone)
        if arguments.json:
            print(json.dumps({"backbone": backbone, **peaks}), flush=True)
        else:
            print(
                f"{backbone:<20}" + "".join(f"{name} {value:6.0f} MB   " for name, value in peaks.items()), flush=True
            )


if __name__ == "__main__":
    main()
