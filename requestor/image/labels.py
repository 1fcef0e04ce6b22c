"""What an image says of itself, in labels of its container config that are set where it is built:

- `nima-golem.version`: of the package in it
- `nima-golem.protocol`: of the jobs that its program takes
- `nima-golem.python`: absolute path of the Python that runs the program
- `nima-golem.models`: SHA-256 of the models that lie in it, with blanks between them
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
    """Raises ImageMismatch unless an image with these labels takes this program's jobs. `image`: what to call it."""
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
    """Absolute path of the Python in an image with these labels."""
    return labels.get(PYTHON_LABEL, DEFAULT_PYTHON)


def models_in_labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    """SHA-256 of the models that nobody has to send to an image with these labels."""
    return tuple(labels.get(MODELS_LABEL, "").split())
