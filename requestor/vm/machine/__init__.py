"""Boots an image in a virtual machine by QEMU, with a kernel, as ya-runtime-vm does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.vm.machine.kernel import GuestKernel, debian_kernel, read_kernel
    from requestor.vm.machine.virtual_machine import (
        MachineEnded,
        MachineOptions,
        MachineUse,
        ProgramNotExecuted,
        VirtualMachine,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "kernel": ["GuestKernel", "debian_kernel", "read_kernel"],
            "virtual_machine": ["MachineEnded", "MachineOptions", "MachineUse", "ProgramNotExecuted", "VirtualMachine"],
        },
    )

__all__ = [
    "GuestKernel",
    "MachineEnded",
    "MachineOptions",
    "MachineUse",
    "ProgramNotExecuted",
    "VirtualMachine",
    "debian_kernel",
    "read_kernel",
]
