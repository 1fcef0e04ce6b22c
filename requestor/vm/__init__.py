"""Runs Golem's VM on this machine: unpacked image, sandbox, runtime, volumes, usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.vm.image_cache import ImageCache, UnpackedImage
    from requestor.vm.runtime import HOST, DeploymentRefused, Machine, Runtime, RuntimeFailed
    from requestor.vm.sandbox import PYTHON, Layout, Sandbox
    from requestor.vm.usage import Usage
    from requestor.vm.volumes import TransferFailed, Volumes
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "image_cache": ["ImageCache", "UnpackedImage"],
            "runtime": ["DeploymentRefused", "HOST", "Machine", "Runtime", "RuntimeFailed"],
            "sandbox": ["Layout", "PYTHON", "Sandbox"],
            "usage": ["Usage"],
            "volumes": ["TransferFailed", "Volumes"],
        },
    )

__all__ = [
    "HOST",
    "PYTHON",
    "DeploymentRefused",
    "ImageCache",
    "Layout",
    "Machine",
    "Runtime",
    "RuntimeFailed",
    "Sandbox",
    "TransferFailed",
    "UnpackedImage",
    "Usage",
    "Volumes",
]
