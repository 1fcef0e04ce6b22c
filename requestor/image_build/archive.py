"""Reads archives of `docker save`: an image's container config, and its layers, unpacked over one another."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from requestor.errors import ImageError

# Files that builders leave behind at run time, and folders that the VM makes itself.
_LEFT_OUT = ("dev/*", "proc/*", "run/*", "sys/*", ".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf")
# The fields of the config that Golem's VM uses; the other fields differ from builder to builder.
_FIELDS = ("Cmd", "Entrypoint", "Env", "Labels", "User", "Volumes", "WorkingDir")
_BUILDER_LABELS = "io.buildah."


def unpack_archive(archive: Path, root: Path) -> dict[str, Any]:
    """Unpacks the one image of `archive` to the new folder `root`; returns its container config. Raises ImageError."""
    root.mkdir()
    root.chmod(0o755)  # independent of the umask, so that equal images have equal modes
    try:
        with tarfile.open(archive) as tar:
            (manifest,) = _json(tar, "manifest.json")
            config = _json(tar, manifest["Config"])["config"]
            for layer in manifest["Layers"]:
                _unpack_layer(tar, layer, root)
    except (tarfile.TarError, OSError, KeyError, TypeError, ValueError) as error:
        raise ImageError(f"{archive} is not an archive of `docker save` with one image ({error}).") from error
    kept = {name: config[name] for name in _FIELDS if config.get(name)}
    if labels := kept.get("Labels"):
        kept["Labels"] = {name: text for name, text in labels.items() if not name.startswith(_BUILDER_LABELS)}
    return kept


def _json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    if member is None:
        raise ValueError(f"{name} is no file")
    return json.load(member)


def _unpack_layer(tar: tarfile.TarFile, layer: str, root: Path) -> None:
    source = tar.extractfile(layer)
    if source is None:
        raise ValueError(f"{layer} is no file")
    left_out = [f"--exclude={prefix}{path}" for path in _LEFT_OUT for prefix in ("", "./")]
    command = ["tar", "--extract", "--preserve-permissions", "--no-same-owner", "--anchored", *left_out]
    with subprocess.Popen(
        [*command, "--directory", str(root)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, umask=0o022
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            shutil.copyfileobj(source, process.stdin, 1 << 20)
            process.stdin.close()
        except BrokenPipeError:
            pass  # tar's own message gives the reason
        problem = process.stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise ValueError(problem.strip()[-300:])
    # A file `.wh.NAME` says that a layer deletes the file NAME of an earlier layer; the Dockerfile's last stage has one
    # layer only.
    if deleted := next(root.rglob(".wh.*"), None):
        raise ValueError(f"a layer deletes {PurePosixPath('/') / deleted.relative_to(root)}")
