"""Runs Golem's VM on this machine: unpacked image, sandbox, runtime, volumes, usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.vm.image_cache import ImageCache, UnpackedImage
    from requestor.vm.runtime import HOST_MACHINE, DeploymentRefused, Runtime, RuntimeFailed, TaskMachine
    from requestor.vm.sandbox import PYTHON_IN_SANDBOX, Sandbox, SandboxLayout
    from requestor.vm.usage import UsageCounters
    from requestor.vm.volumes import TransferFailed, Volumes
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "image_cache": ["ImageCache", "UnpackedImage"],
            "runtime": ["DeploymentRefused", "HOST_MACHINE", "TaskMachine", "Runtime", "RuntimeFailed"],
            "sandbox": ["SandboxLayout", "PYTHON_IN_SANDBOX", "Sandbox"],
            "usage": ["UsageCounters"],
            "volumes": ["TransferFailed", "Volumes"],
        },
    )

__all__ = [
    "HOST_MACHINE",
    "PYTHON_IN_SANDBOX",
    "DeploymentRefused",
    "ImageCache",
    "Runtime",
    "RuntimeFailed",
    "Sandbox",
    "SandboxLayout",
    "TaskMachine",
    "TransferFailed",
    "UnpackedImage",
    "UsageCounters",
    "Volumes",
]
