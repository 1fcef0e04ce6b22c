"""Knows what a provider image is: its format, labels, paths and parts, and which one a run uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.image.chosen import ChosenImage, choose_image
    from requestor.image.contents import Part, list_parts
    from requestor.image.gvmi import UNSUPPORTED_COMPRESSIONS, ImageInfo, read_image, write_image
    from requestor.image.labels import check_versions, models_of, python_of
    from requestor.image.paths import JOBS, MEMORY_GIB, MODELS, STORE
    from requestor.image.squashfs import COMPRESSION, make_squashfs, maker
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "chosen": ["ChosenImage", "choose_image"],
            "contents": ["Part", "list_parts"],
            "gvmi": ["ImageInfo", "UNSUPPORTED_COMPRESSIONS", "read_image", "write_image"],
            "labels": ["check_versions", "models_of", "python_of"],
            "paths": ["JOBS", "MEMORY_GIB", "MODELS", "STORE"],
            "squashfs": ["COMPRESSION", "make_squashfs", "maker"],
        },
    )

__all__ = [
    "COMPRESSION",
    "JOBS",
    "MEMORY_GIB",
    "MODELS",
    "STORE",
    "UNSUPPORTED_COMPRESSIONS",
    "ChosenImage",
    "ImageInfo",
    "Part",
    "check_versions",
    "choose_image",
    "list_parts",
    "make_squashfs",
    "maker",
    "models_of",
    "python_of",
    "read_image",
    "write_image",
]
