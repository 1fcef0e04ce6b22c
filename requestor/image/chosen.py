"""The provider image that a run hires for: what the environment says of it, checked as far as that costs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from requestor.errors import ConfigurationError
from requestor.image.gvmi import ImageInfo, read_image
from requestor.image.labels import DEFAULT_PYTHON, check_versions, models_of, python_of

_PACKAGE = re.compile(r"hash:sha3:(?P<digest>[0-9a-f]+):(?P<url>https?://\S+)")


@dataclass(frozen=True)
class ChosenImage:
    """What providers are asked to run.

    Attributes:
        package: the demand's task package, `hash:sha3:<sha3-224>:<url>`.
        python: absolute path of the image's Python.
        info: of the image's file on this machine; None where there is none.
    """

    package: str
    python: str
    info: ImageInfo | None

    @property
    def digest(self) -> str:
        """SHA3 of the image, in hexadecimal digits: 56 of them for SHA3-224."""
        return self._parts()["digest"]

    @property
    def url(self) -> str:
        """Where providers download it."""
        return self._parts()["url"]

    @property
    def models(self) -> tuple[str, ...]:
        """SHA-256 of the models that are known to lie in the image."""
        return models_of(self.info.labels) if self.info else ()

    def _parts(self) -> re.Match[str]:
        match = _PACKAGE.fullmatch(self.package)
        assert match is not None, "checked by choose_image"
        return match


def choose_image(environment: Mapping[str, str]) -> ChosenImage:
    """The image of NIMA_GOLEM_IMAGE; and its file, where NIMA_GOLEM_IMAGE_FILE names one, for which it is checked now
    that it is the same, and of this version.

    Raises ConfigurationError, ImageError, ImageMismatch.
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
    if info is not None:
        if info.sha3_224 != match["digest"]:
            raise ConfigurationError(
                f"{file} (NIMA_GOLEM_IMAGE_FILE) is not the image that NIMA_GOLEM_IMAGE names: its SHA3-224 is "
                f"{info.sha3_224}, not {match['digest']}."
            )
        check_versions(info.labels, str(file))
    python = environment.get("NIMA_GOLEM_PYTHON") or (python_of(info.labels) if info else DEFAULT_PYTHON)
    return ChosenImage(package, python, info)
