"""Lists what uses space in an image: this project, each package that it needs, Python, and the system below."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from requestor.image.squashfs import list_files

PACKAGES = "/opt/nima-golem/"
OURS = ("nima", "provider_image", "models")
Kind = Literal["ours", "package", "python", "system"]
_INFO = re.compile(r"(.+)-([^-]+)\.dist-info")
_PYTHON = re.compile(r"/usr/(local/)?(lib/(lib)?python3|bin/python3|share/python3)")
# Packages whose modules have another name.
_MODULES = {
    "PIL": "pillow",
    "torchgen": "torch",
    "isympy.py": "sympy",
    "typing_extensions.py": "typing_extensions",
    "__pycache__": "typing_extensions",
}


@dataclass(frozen=True)
class ImagePart:
    """Describes a part of an image; `size` is in bytes before compression, `version` is empty if there is none."""

    kind: Kind
    name: str
    version: str
    size: int


def list_image_parts(image: Path) -> list[ImagePart]:
    """Returns the parts of `image`: this project, then packages, then the rest, each from the largest down.

    Raises ImageError if the file cannot be listed.
    """
    sizes: Counter[tuple[Kind, str]] = Counter()
    versions: dict[str, str] = {}
    for path, size in list_files(image):
        if path.startswith(PACKAGES):
            name = path.removeprefix(PACKAGES).split("/")[0]
            if info := _INFO.fullmatch(name):
                name, versions[info[1]] = info[1], info[2]
            name = _MODULES.get(name, name.removesuffix(".libs"))
            sizes["ours" if name in OURS else "package", name] += size
        elif _PYTHON.match(path):
            sizes["python", "Python"] += size
        else:
            sizes["system", "the rest of the system"] += size
    order: tuple[Kind, ...] = ("ours", "package", "python", "system")
    parts = (ImagePart(kind, name, versions.get(name, ""), size) for (kind, name), size in sizes.items())
    return sorted(parts, key=lambda part: (order.index(part.kind), -part.size, part.name))
