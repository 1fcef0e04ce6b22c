"""Builds, verifies and pushes provider images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.image_build.build import DEFAULT_BASE, build_image
    from requestor.image_build.push import push_image
    from requestor.image_build.verify import KINDS_OF_JOBS, verify_image
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "build": ["DEFAULT_BASE", "build_image"],
            "push": ["push_image"],
            "verify": ["KINDS_OF_JOBS", "verify_image"],
        },
    )

__all__ = ["DEFAULT_BASE", "KINDS_OF_JOBS", "build_image", "push_image", "verify_image"]
