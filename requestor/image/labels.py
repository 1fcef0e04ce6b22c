"""Reads the labels that describe an image. The build writes them into its container config:

- `nima-golem.version`: version of the package in the image
- `nima-golem.protocol`: version of the jobs that its program accepts
- `nima-golem.python`: absolute path of the Python that runs the program
- `nima-golem.models`: SHA-256 of the models in the image, separated by blanks
"""

from __future__ import annotations

from collections.abc import Mapping

from nima.version import VERSION
from nima.wire import PROTOCOL, named_version
from requestor.errors import ImageMismatch

VERSION_LABEL = "nima-golem.version"
PROTOCOL_LABEL = "nima-golem.protocol"
PYTHON_LABEL = "nima-golem.python"
MODELS_LABEL = "nima-golem.models"
DEFAULT_PYTHON = "/usr/local/bin/python3"


def check_image_versions(labels: Mapping[str, str], image: str) -> None:
    """Checks that an image with these labels accepts this program's jobs.

    `image` is the name of the image in messages. Raises ImageMismatch.
    """
    version, protocol = labels.get(VERSION_LABEL), labels.get(PROTOCOL_LABEL)
    if version is None or protocol is None:
        raise ImageMismatch(
            f"{image} is no provider image of this program: it has no labels {VERSION_LABEL} and {PROTOCOL_LABEL}."
        )
    if (version, protocol) != (VERSION, str(PROTOCOL)):
        raise ImageMismatch(
            f"{image} holds {named_version(protocol, version)}, and this is {named_version(PROTOCOL, VERSION)}. "
            "Choose an image of this version (NIMA_GOLEM_IMAGE), or install the version of the image."
        )


def python_in_labels(labels: Mapping[str, str]) -> str:
    """Returns the absolute path of the Python in an image with these labels."""
    return labels.get(PYTHON_LABEL, DEFAULT_PYTHON)


def models_in_labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the SHA-256 of each model in an image with these labels.

    Nobody has to send these models to providers.
    """
    return tuple(labels.get(MODELS_LABEL, "").split())
