"""Holds the speeds that plans and estimates assume: of the backbones, as measured, and of usual and slow providers."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_THREADS = 4  # threads of a usual provider
# A slow provider has as much as so many cores of the machine on which the backbones were measured: one that is half as
# fast. All time limits follow from it.
SLOW_CORES = 0.5
JOB_CORE_SECONDS = 4.0  # start of the program, most of it the import of torch (`scripts/benchmarks/cold_start.py`)
HEAD_SPEED = 5000.0  # samples a core second that train the head on kept features
LAST_BLOCKS = 3  # for so many trained blocks, the speed was measured


@dataclass(frozen=True)
class Speed:
    """The number of photos that one core computes in a second with a backbone.

    frozen: photos that are decoded and go through the whole backbone, which is not trained.
    last: samples that train the last `LAST_BLOCKS` blocks and the head, on the kept outputs of the blocks before.
    whole: samples that are decoded and train the whole network.
    """

    frozen: float
    last: float
    whole: float


# Measured by `python scripts/benchmarks/backbone_speeds.py` (Intel Xeon, one thread, torch 2.13).
SPEEDS: dict[str, Speed] = {
    "mobilenet_v1": Speed(17.5, 48.4, 7.4),
    "mobilenet_v2": Speed(31.3, 111.1, 9.0),
    "mobilenet_v3_small": Speed(62.2, 123.3, 25.4),
    "mobilenet_v3_large": Speed(31.2, 69.4, 10.7),
    "vgg16": Speed(2.7, 1.1, 0.8),
    "vgg16_maps": Speed(2.7, 1.1, 0.8),  # not measured: it has the convolutions of vgg16, which take all the time
    "inception_v3": Speed(5.9, 9.2, 1.7),
    "resnet18": Speed(15.4, 15.4, 6.7),
    "resnet50": Speed(6.5, 10.0, 2.0),
    "efficientnet_b0": Speed(23.5, 25.4, 6.0),
    "efficientnet_v2_s": Speed(2.7, 2.0, 0.9),
    "convnext_tiny": Speed(6.9, 3.4, 1.9),
    "vit_b_16": Speed(2.2, 3.0, 0.7),
    "swin_t": Speed(5.2, 3.2, 1.8),
    "squeezenet1_1": Speed(49.2, 92.2, 13.1),
    "shufflenet_v2": Speed(41.7, 101.9, 17.0),
}


def speed_of(backbone: str) -> Speed:
    """Returns the speed of a backbone; for one that nobody has measured, the slowest of all."""
    if backbone in SPEEDS:
        return SPEEDS[backbone]
    return Speed(*(min(getattr(speed, name) for speed in SPEEDS.values()) for name in ("frozen", "last", "whole")))


def training_core_seconds(speed: Speed, photos: int, samples: int, blocks: int, augment: bool) -> float:
    """Returns the seconds that one core needs to train.

    Args:
        speed: the speed of the backbone.
        photos: number of different photos; what the frozen blocks make of each is computed once and kept.
        samples: number of samples in all steps together.
        blocks: number of the last blocks that are trained; 0 for the head only, -1 for everything.
        augment: True if each sample is another crop, so that nothing can be kept.
    """
    if blocks == 0:
        trained = samples / HEAD_SPEED
    else:
        trained = samples / (speed.last if 0 < blocks <= LAST_BLOCKS else speed.whole)
    if blocks == -1:
        return trained
    return trained + (samples if augment else photos) / speed.frozen
