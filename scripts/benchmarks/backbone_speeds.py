"""Measures how many photos one core computes in a second with each backbone: frozen, and trained.

    python scripts/benchmarks/backbone_speeds.py [--photos 8] [--backbones mobilenet_v2 …]

`requestor/planning/speeds.py` has the figures, from which the limits of tasks and the estimate of a run follow. A speed
is photos divided by the processor time of one thread, so that other programs on the machine change it little. The
weights do not change it either: they are random here.

- frozen: decoding the stored photo, and the features of all levels (the work of `embed`).
- last 3 blocks: a step of SGD on the last three blocks and the head, from the kept outputs of the blocks before.
- whole: a step of SGD on everything, decoding included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from nima.model import Nima, initial_model
from nima.model.backbones import BACKBONES
from nima.ratings import emd

BLOCKS = 3
ALL_BLOCKS = -1


def stored_photo(model: Nima) -> bytes:
    """Returns a made-up photo, smooth as photos are, in the form in which shards hold it."""
    few = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    return model.preparation.store(Image.fromarray(few).resize((512, 512), Image.Resampling.BICUBIC))


def speed(photos: int, work: Callable[[], None]) -> float:
    """Returns the photos a second of processor time, when `work` is done for the second time."""
    work()
    started = time.process_time()
    work()
    return photos / (time.process_time() - started)


def speeds(name: str, photos: int) -> tuple[float, float, float]:
    """Returns the three speeds of a backbone, in photos a core second."""
    model = initial_model(name, None, 0, multi_level=True)
    stored = [stored_photo(model)] * photos
    targets = torch.full((photos, 10), 0.1)

    def embed() -> None:
        model.eval()
        with torch.inference_mode():
            model.features(model.preparation.central_crops(stored))

    def descend(logits: Callable[[], torch.Tensor]) -> None:
        model.train()
        optimizer = torch.optim.SGD(model.parameter_groups(1e-3, 1e-3), lr=1e-3, momentum=0.9)
        optimizer.zero_grad()
        emd(logits().softmax(dim=1), targets, 2.0).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    frozen_speed = speed(photos, embed)
    model.train_last(BLOCKS)
    model.train()
    kept = model.frozen(model.preparation.central_crops(stored))
    last_speed = speed(photos, lambda: descend(lambda: model.after_frozen(kept)))
    model.train_last(ALL_BLOCKS)
    whole_speed = speed(photos, lambda: descend(lambda: model(model.preparation.central_crops(stored))))
    return frozen_speed, last_speed, whole_speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random weights may lead to such numbers, with which processors are slow
    print(f"{'backbone':<22} {'frozen':>8} {'last 3':>8} {'whole':>8}")
    for name in options.backbones:
        row = " ".join(f"{value:8.1f}" for value in speeds(name, options.photos))
        print(f"{name:<22} {row}", flush=True)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
