"""Uploads an image to Golem's registry with `gvmkit-build`, Golem's own tool, anonymously or with an account."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from requestor.errors import ImageError
from requestor.image import check_image_versions, read_image

_REGISTRY = "https://registry.golem.network"


def push_image(path: Path, tag: str | None) -> str:
    """Uploads the image `path` as `tag` (USER/REPOSITORY:TAG), or anonymously; returns the task package for demands.

    `gvmkit-build` asks for user and token on the terminal, or takes REGISTRY_USER and REGISTRY_TOKEN. Raises
    ImageError; ImageMismatch if the image is of another version.
    """
    tool = shutil.which("gvmkit-build")
    if tool is None:
        raise ImageError("Images are pushed by `gvmkit-build`, which is missing: pip install gvmkit-build.")
    info = read_image(path)
    check_image_versions(info.labels, str(path))
    with tempfile.TemporaryDirectory(prefix="nima-golem-push-") as folder:
        # `gvmkit-build` leaves a file beside the image that it uploads.
        link, told = Path(folder) / path.name, Path(folder) / "told.json"
        link.symlink_to(path.absolute())
        target = ["--push-to", tag] if tag else ["--push", "--nologin"]
        command = [tool, "--direct-file-upload", str(link), f"--extra-json-info-path={told}"]
        # It runs twice, because version 0.3.19 reads its list of hashes before it has written it, unless the list
        # exists.
        for options in ([], target):
            # It asks on the terminal and shows its progress there. Our own stdout may hold only the result.
            done = subprocess.run([*command, *options], stdout=sys.stderr, check=False)
            if done.returncode != 0:
                raise ImageError(f"gvmkit-build did not push {path} (exit code {done.returncode}); see above.")
        descriptor = json.loads(told.read_text())["hash"]
    registry = os.environ.get("REGISTRY_URL", _REGISTRY).rstrip("/")
    return f"hash:sha3:{info.sha3_224}:{registry}/download/{descriptor}"
