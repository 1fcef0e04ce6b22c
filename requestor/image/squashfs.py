"""Makes the file system of an image with `mksquashfs`, and lists it with `unsquashfs`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from requestor.errors import ImageError

# gzip at level 6: xz would save a tenth and take ten times as long to make; Golem's kernel knows no zstd.
SQUASHFS_COMPRESSION = ("-comp", "gzip", "-Xcompression-level", "6")
_LINE = re.compile(r"-\S{9} \S+ +(\d+) \d{4}-\d\d-\d\d \d\d:\d\d (.*)")


def make_squashfs(root: Path, output: Path) -> None:
    """Packs all files below `root` into `output`, owned by root and with one date: the same files give the same bytes.

    The date is SOURCE_DATE_EPOCH, or 0. Raises ImageError if this is no number, or if `mksquashfs` is missing or fails.
    """
    date = os.environ.get("SOURCE_DATE_EPOCH", "0")
    if not date.isdecimal():
        raise ImageError(f"SOURCE_DATE_EPOCH is {date!r}; it must be a number of seconds since 1970.")
    command = [_tool("mksquashfs"), str(root), str(output), "-noappend", "-no-progress", "-quiet"]
    command += ["-all-root", "-no-xattrs", "-mkfs-time", date, "-all-time", date, *SQUASHFS_COMPRESSION]
    # `mksquashfs` refuses date options beside the variable.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(f"mksquashfs could not pack the image: {_reason(done)}.")


def squashfs_version() -> str:
    """Returns the name and version of the program that makes the squashfs. Raises ImageError if it is missing."""
    done = subprocess.run([_tool("mksquashfs"), "-version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def list_files(image: Path) -> Iterator[tuple[str, int]]:
    """Yields (absolute path, bytes before compression) of every plain file in `image`. Raises ImageError."""
    command = [_tool("unsquashfs"), "-lln", "-d", "", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise ImageError(f"{image} could not be listed: {_reason(done)}.")
    for line in done.stdout.splitlines():
        if match := _LINE.fullmatch(line):
            yield match[2], int(match[1])


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ImageError(f"This needs `{name}`, which is missing: install squashfs-tools.")
    return path


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1][:300].rstrip(".") if lines else f"exit code {done.returncode}"
