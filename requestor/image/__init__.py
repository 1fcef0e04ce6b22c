"""Knows what a provider image is: its format, labels, paths and parts, and which one a run uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.image.chosen import ChosenImage, choose_image
    from requestor.image.contents import ImagePart, list_image_parts
    from requestor.image.gvmi import UNSUPPORTED_COMPRESSIONS, ImageInfo, read_image, write_image
    from requestor.image.labels import check_image_versions, models_in_labels, python_in_labels
    from requestor.image.paths import JOBS_FOLDER, MODELS_FOLDER, STORE_FOLDER, TASK_MEMORY_GIB
    from requestor.image.squashfs import SQUASHFS_COMPRESSION, make_squashfs, squashfs_version
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "chosen": ["ChosenImage", "choose_image"],
            "contents": ["ImagePart", "list_image_parts"],
            "gvmi": ["ImageInfo", "UNSUPPORTED_COMPRESSIONS", "read_image", "write_image"],
            "labels": ["check_image_versions", "models_in_labels", "python_in_labels"],
            "paths": ["JOBS_FOLDER", "TASK_MEMORY_GIB", "MODELS_FOLDER", "STORE_FOLDER"],
            "squashfs": ["SQUASHFS_COMPRESSION", "make_squashfs", "squashfs_version"],
        },
    )

__all__ = [
    "JOBS_FOLDER",
    "MODELS_FOLDER",
    "SQUASHFS_COMPRESSION",
    "STORE_FOLDER",
    "TASK_MEMORY_GIB",
    "UNSUPPORTED_COMPRESSIONS",
    "ChosenImage",
    "ImageInfo",
    "ImagePart",
    "check_image_versions",
    "choose_image",
    "list_image_parts",
    "make_squashfs",
    "models_in_labels",
    "python_in_labels",
    "read_image",
    "squashfs_version",
    "write_image",
]
