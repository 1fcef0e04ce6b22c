#!/usr/bin/env python3
"""Writes the SHA-256 of each wheel of the provider image beside its pin in `provider_image/requirements.txt`.

    python -m scripts.image.pin_wheels "$(pip config get global.index-url)"    # or the address of another index

The hashes are those that the package index tells (PEP 691), of the wheels for CPython 3.11 on x86-64 Linux; those of
PyTorch without CUDA are told by PyTorch's own index. If an index cannot be reached, its packages keep their hashes.
Run it after changing a version.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote

REQUIREMENTS = Path(__file__).resolve().parents[2] / "provider_image" / "requirements.txt"
_TORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
_FITS = re.compile(r"-(py3-none-any|cp311-cp311-manylinux\w*_x86_64.*|cp3\d+-abi3-manylinux\w*_x86_64.*)\.whl$")


def main() -> None:
    """Rewrites the file by what a simple index (PEP 503) tells; ends with 1 if a wheel has no hash."""
    if len(sys.argv) != 2:
        sys.exit("Give the address of the package index, as pip's --index-url takes it.")
    index = sys.argv[1].rstrip("/")
    lines, missing = [], []
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            pin, *known = line.split()
            name, version = pin.split("==")
            try:
                found = _of_torch(version) if name == "torch" else _of_index(index, name, version)
            except (urllib.error.URLError, TimeoutError) as error:
                print(f"{name}: {error}; its hash stays as it is", file=sys.stderr)
                found = [option.removeprefix("--hash=sha256:") for option in known]
            missing += [] if found else [pin]
            line = " ".join([pin, *(f"--hash=sha256:{one}" for one in found)])
        lines.append(line)
    REQUIREMENTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if missing:
        sys.exit(f"No wheel was found for {', '.join(missing)}.")


def _of_index(index: str, name: str, version: str) -> list[str]:
    request = urllib.request.Request(f"{index}/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        files = json.load(answer)["files"]
    of_version = [file for file in files if file["filename"].split("-")[1:2] == [version]]
    return sorted(file["hashes"]["sha256"] for file in of_version if _FITS.search(file["filename"]))


def _of_torch(version: str) -> list[str]:
    with urllib.request.urlopen(_TORCH_INDEX, timeout=10) as answer:
        links = re.findall(r'href="[^"]*/([^"/#]+)#sha256=([0-9a-f]{64})"', answer.read().decode())
    return [sha256 for name, sha256 in links if f"-{version}+cpu-" in unquote(name) and _FITS.search(name)]


if __name__ == "__main__":
    main()
