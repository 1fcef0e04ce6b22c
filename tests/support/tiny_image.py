"""Makes a provider image of a few megabytes: the host's shell and some of its programs, with their libraries."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from requestor.image.gvmi import ImageInfo, write_image

PROGRAMS = (
    *("bash", "cat", "chmod", "chown", "cut", "df", "env", "find", "grep", "head", "hostname", "id", "kill", "ls"),
    *("mkdir", "mknod", "mount", "nproc", "printf", "pwd", "readlink", "rm", "sha256sum", "sleep", "stat", "tail"),
    *("taskset", "tee", "touch", "tr", "true", "umount", "unshare", "wc"),
)
CONFIG = {
    "Env": ["PATH=/usr/bin", "GREETING=hello there"],
    "WorkingDir": "/opt/app",
    "Volumes": {"/golem/work": {}, "/golem/output": {}},
}


def make_image(
    folder: Path,
    config: Mapping[str, Any] = CONFIG,
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> ImageInfo:
    """Writes `folder/tiny.gvmi`.

    `files` are put into it: path → text, executable if it begins with `#!`; and `links`: path → target.
    """
    if shutil.which("mksquashfs") is None or shutil.which("unsquashfs") is None:
        pytest.skip("needs squashfs-tools")
    root = folder / "image-root"
    for path in ("proc", "sys", "etc", "usr/bin"):
        (root / path).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in PROGRAMS:
        program = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        assert program is not None, name
        _copy(program, root, f"/usr/bin/{name}")
    (root / "usr/bin/sh").symlink_to("bash")
    for path, text in (files or {}).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    for path, target in (links or {}).items():
        (root / path.lstrip("/")).symlink_to(target)
    squashfs = folder / "root.squashfs"
    command = ["mksquashfs", str(root), str(squashfs), "-comp", "lz4", "-noappend", "-no-progress", "-quiet"]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(root)
    return write_image(squashfs, config, folder / "tiny.gvmi")


def _copy(program: str, root: Path, target: str) -> None:
    shutil.copy(program, root / target.lstrip("/"))
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        copy = root / library.lstrip("/")
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, copy)
