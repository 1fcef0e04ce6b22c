"""Measures by how much the results of an image differ between processors, in virtual machines of QEMU.

    python scripts/benchmarks/processors.py provider.gvmi [--cpus Nehalem Haswell …] [--jobs embed …] [--kvm] [--json]

Each row is one CPU model: the differences from this machine's values (as `nima-golem image verify` compares them), the
seconds of each job, and the least memory that was left. Machines are emulated, so that each CPU model has its own
instructions, unless `--kvm` is given; QEMU emulates none of AVX-512.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from nima.wire import JobKind
from requestor.image import TASK_MEMORY_GIB
from requestor.image_build import KINDS_OF_JOBS, verify_image
from requestor.vm.machine import MachineOptions, debian_kernel

CPUS = ("Nehalem", "SandyBridge", "Haswell", "Skylake-Server", "max")


@dataclass(frozen=True)
class Row:
    """One CPU model: kind of job → difference, and → seconds; and the least memory that was left, in MB."""

    cpu: str
    boot: str
    differences: dict[str, float]
    seconds: dict[str, float]
    left_mb: float


async def measure(image: Path, cpu: str, kinds: list[JobKind], accelerator: str) -> Row:
    """Boots an image as a CPU model, and does jobs of these kinds. Raises ImageError if one fails or differs much."""
    memory = int(TASK_MEMORY_GIB * 2**30)
    machine = MachineOptions(debian_kernel(), memory, cpu=cpu, accelerators=(accelerator,))
    checks = {check.name: check async for check in verify_image(image, kinds, machine)}
    measured = {kind: checks[kind].measured for kind in kinds}
    return Row(
        cpu,
        checks["boot"].found,
        {kind: figures["difference"] for kind, figures in measured.items() if "difference" in figures},
        {kind: figures["seconds"] for kind, figures in measured.items()},
        min(figures["available"] for figures in measured.values()) / 1e6,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--cpus", nargs="+", default=list(CPUS))
    parser.add_argument("--jobs", nargs="+", choices=get_args(JobKind), default=list(KINDS_OF_JOBS))
    parser.add_argument("--kvm", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    for cpu in arguments.cpus:
        row = asyncio.run(measure(arguments.image, cpu, arguments.jobs, "kvm" if arguments.kvm else "tcg"))
        if arguments.json:
            print(json.dumps(asdict(row)), flush=True)
        else:
            differences = ", ".join(f"{kind} {value:.1g}" for kind, value in row.differences.items())
            seconds = ", ".join(f"{kind} {value:.0f} s" for kind, value in row.seconds.items())
            print(f"{cpu:<16}{differences}; {seconds}; {row.left_mb:.0f} MB left", flush=True)


if __name__ == "__main__":
    main()
