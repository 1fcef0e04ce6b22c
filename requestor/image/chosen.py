"""Reads from the environment which provider image a run uses, and checks it before any provider is paid."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from requestor.errors import ConfigurationError, ImageError
from requestor.image.gvmi import ImageInfo, read_image, read_labels
from requestor.image.labels import DEFAULT_PYTHON, check_image_versions, models_in_labels, python_in_labels

_END_BYTES = 64 * 1024  # size of the end of an image that is read; longer than any container config of this project
_SECONDS = 10.0
_PACKAGE = re.compile(r"hash:sha3:(?P<digest>[0-9a-f]+):(?P<url>https?://\S+)")


@dataclass(frozen=True)
class ChosenImage:
    """Describes the image that providers have to run.

    Attributes:
        package: the demand's task package, `hash:sha3:<sha3-224>:<url>`.
        python: absolute path of the image's Python.
        info: description of the image's file on this machine; None if there is no such file.
        labels: those of the file, or else of the file at the URL; None if neither can be read.
    """

    package: str
    python: str
    info: ImageInfo | None
    labels: Mapping[str, str] | None

    @property
    def digest(self) -> str:
        """Returns the SHA3 of the image, in hexadecimal digits: 56 digits for SHA3-224."""
        return self._parts()["digest"]

    @property
    def url(self) -> str:
        """Returns the URL from which providers download the image."""
        return self._parts()["url"]

    @property
    def models(self) -> tuple[str, ...]:
        """Returns the SHA-256 of each model that is known to be in the image."""
        return models_in_labels(self.info.labels) if self.info else ()

    def _parts(self) -> re.Match[str]:
        match = _PACKAGE.fullmatch(self.package)
        assert match is not None, "checked by choose_image"
        return match


def choose_image(environment: Mapping[str, str]) -> ChosenImage:
    """Returns the image that NIMA_GOLEM_IMAGE in `environment` names, after a check that it is of this version.

    The check reads the file that NIMA_GOLEM_IMAGE_FILE names, which must be the same image, or else the end of the file
    at the image's URL. If neither can be read, the version stays unchecked.

    Raises:
        ConfigurationError: NIMA_GOLEM_IMAGE names no image, or the file is another image.
        ImageError: the file is no image.
        ImageMismatch: the image is of another version.
    """
    package = environment.get("NIMA_GOLEM_IMAGE", "")
    match = _PACKAGE.fullmatch(package)
    if match is None:
        said = f"is {package!r}" if package else "is not set"
        raise ConfigurationError(
            f"NIMA_GOLEM_IMAGE {said}: it names the image that providers run, as hash:sha3:SHA3_224_OF_THE_FILE:URL."
        )
    file = environment.get("NIMA_GOLEM_IMAGE_FILE")
    info = read_image(Path(file)) if file else None
    if info is not None and info.sha3_224 != match["digest"]:
        raise ConfigurationError(
            f"{file} (NIMA_GOLEM_IMAGE_FILE) is not the image that NIMA_GOLEM_IMAGE names: its SHA3-224 is "
            f"{info.sha3_224}, not {match['digest']}."
        )
    labels = info.labels if info else _labels_at(match["url"])
    if labels is not None:
        check_image_versions(labels, str(file or match["url"]))
    python = environment.get("NIMA_GOLEM_PYTHON") or (python_in_labels(labels) if labels else DEFAULT_PYTHON)
    return ChosenImage(package, python, info, labels)


def _labels_at(url: str) -> dict[str, str] | None:
    """Returns the labels of the image at `url`; None if this machine cannot read an image there.

    In that case, only the providers find out whether the image fits. Does not download the whole file from a server
    that cannot send the end alone.
    """
    request = urllib.request.Request(url, headers={"Range": f"bytes=-{_END_BYTES}"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            end = response.read(_END_BYTES) if response.status == HTTPStatus.PARTIAL_CONTENT else b""
        return read_labels(end)
    except (OSError, HTTPException, ValueError, ImageError):
        return None
