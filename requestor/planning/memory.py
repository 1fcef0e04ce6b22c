"""Holds the memory that providers' jobs need with each backbone, and refuses what a provider's VM has no room for."""

from __future__ import annotations

from dataclasses import dataclass

from requestor.errors import ConfigurationError
from requestor.planning.speeds import LAST_BLOCKS

VM_ROOM_MB = 1420.0
"""The MB that programs may use in a VM of the 1.5 GiB that demands ask for; the kernel takes the rest. Measured by
`nima-golem image verify --vm`: memory that was available in the booted machine."""


@dataclass(frozen=True)
class JobMemory:
    """The peak of a job's resident memory in MB, whatever the number of photos.

    embed: computing the features of all levels.
    last: training the last `LAST_BLOCKS` blocks and the head.
    whole: training the whole network.
    """

    embed: float
    last: float
    whole: float


# Measured by `python scripts/benchmarks/job_memory.py` (one thread, torch 2.13).
JOB_MEMORY: dict[str, JobMemory] = {
    "mobilenet_v2": JobMemory(424, 520, 1132),
    "mobilenet_v1": JobMemory(429, 488, 1071),
    "mobilenet_v3_small": JobMemory(344, 371, 492),
    "resnet18": JobMemory(461, 875, 984),
}


def job_megabytes(backbone: str, blocks: int) -> float:
    """Returns the memory of the largest job that trains so many blocks; 0 if nobody has measured the backbone.

    Args:
        backbone: name of the backbone.
        blocks: number of the last blocks that are trained; 0 for the head only, -1 for everything.
    """
    measured = JOB_MEMORY.get(backbone)
    if measured is None:
        return 0.0
    if blocks == 0:
        return measured.embed
    return max(measured.embed, measured.last if 0 < blocks <= LAST_BLOCKS else measured.whole)


def check_memory(backbone: str, blocks: int) -> None:
    """Raises ConfigurationError if a provider's VM has no room for the jobs of a run on Golem.

    Arguments are those of `job_megabytes`.
    """
    needed = job_megabytes(backbone, blocks)
    if needed <= VM_ROOM_MB:
        return
    if (small := job_megabytes(backbone, 0)) <= VM_ROOM_MB < job_megabytes(backbone, LAST_BLOCKS):
        advice = f"Only its head can be trained there (--strategy embed, {small:.0f} MB)"
    elif small <= VM_ROOM_MB:
        advice = f"Train the last {LAST_BLOCKS} blocks there (--blocks {LAST_BLOCKS})"
    else:
        advice = "Choose a smaller --backbone"
    raise ConfigurationError(
        f"A job of {backbone} needs {needed:.0f} MB of memory, and a provider's VM has {VM_ROOM_MB:.0f} MB for "
        f"it. {advice}, or use this machine alone with --backend local."
    )
