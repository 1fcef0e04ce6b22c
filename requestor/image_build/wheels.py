"""Fetches the wheels for an image with this machine's pip, so with pip's index, proxy and certificates.

Each wheel must have the hash that stands beside its pin: pip refuses another one (`--require-hashes`), here and when
the image is built.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nima.safe_io import cache_folder
from requestor.errors import ImageError

_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# The Python and system of the image, which need not be this machine's. pip takes a platform by its exact name.
_TARGET = (
    *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"),
    *(word for glibc in ("2_28", "2_27", "2_24", "2_17") for word in ("--platform", f"manylinux_{glibc}_x86_64")),
    *("--platform", "manylinux2014_x86_64", "--only-binary=:all:", "--no-deps", "--require-hashes"),
)


def fetch_wheels(requirements: Path) -> Path:
    """Returns the folder with the wheels of `requirements` (pins with hashes, one a line); keeps it for the next time.

    Raises ImageError if a wheel cannot be fetched, or has another hash.
    """
    pins = _pins(requirements)
    name = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:16]
    folder = cache_folder() / "wheels" / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        fetched = Path(scratch) / "wheels"
        # As in scripts/setup: PyTorch without CUDA has a tenth of the size, but this machine may not reach its index.
        torch = [pin for pin in pins if pin.startswith("torch==")]
        failed = _download(torch, fetched, "--index-url", _TORCH_INDEX, "--retries", "0", "--timeout", "10")
        if reason := _download(pins if failed else [pin for pin in pins if pin not in torch], fetched):
            # Elsewhere, pip finds PyTorch with CUDA, which has another hash.
            elsewhere = (
                f" {_TORCH_INDEX} did not answer ({failed}): name an index that has PyTorch without CUDA, "
                "such as a mirror, in PIP_EXTRA_INDEX_URL."
                if failed
                else ""
            )
            raise ImageError(f"The image's packages could not be fetched: {reason}.{elsewhere}")
        for old in folder.parent.iterdir():  # wheels of other pins
            if not old.name.startswith("."):
                shutil.rmtree(old, ignore_errors=True)
        fetched.rename(folder)
    return folder


def _pins(requirements: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _download(pins: list[str], folder: Path, *options: str) -> str:
    """Downloads the wheels; returns the reason of a failure, an empty text on success."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:  # only there, pip takes hashes
        file.write("\n".join(pins))
        file.flush()
        done = subprocess.run(
            [*command, "--dest", str(folder), *_TARGET, *options, "--requirement", file.name],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return ""
    lines = done.stderr.splitlines()
    # Of what pip did not foresee, such as a full disk, it prints `ERROR: Exception:` and a traceback, the reason last.
    errors = [line for line in lines if line.startswith("ERROR") and line != "ERROR: Exception:"] or lines
    return errors[-1].removeprefix("ERROR: ")[:300].rstrip(".") if errors else f"pip ended with {done.returncode}"
