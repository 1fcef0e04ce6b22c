"""Calls Docker, Podman or Buildah: the first that works builds a Dockerfile and saves the image in one format."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from requestor.errors import ImageError

BUILDERS = ("docker", "podman", "buildah")
_REASON_LINES = 15


@dataclass(frozen=True)
class Builder:
    """Builds container images with a tool; `name` is one of `BUILDERS`."""

    name: str

    def build(self, context: Path, dockerfile: Path, arguments: Mapping[str, str]) -> str:
        """Builds `dockerfile` with the files of the folder `context`; returns the image's id. Raises ImageError."""
        with tempfile.TemporaryDirectory() as folder:
            identity = Path(folder) / "id"
            command = ["build", "--file", str(dockerfile), "--iidfile", str(identity), "--pull=false"]
            if self.name != "docker":
                # This needs no privilege except to make user namespaces, and no container runtime.
                command += ["--isolation", "chroot"]
            if platform.machine().lower() not in ("x86_64", "amd64"):
                command += ["--platform", "linux/amd64"]
            for name, value in arguments.items():
                command += ["--build-arg", f"{name}={value}"]
            self._run([*command, str(context)], "build the image")
            return identity.read_text().strip()

    def save(self, image: str, archive: Path) -> None:
        """Writes the image `image` to `archive` in the format of `docker save`. Raises ImageError."""
        match self.name:
            case "docker":
                command = ["save", "--output", str(archive), image]
            case "podman":
                command = ["save", "--quiet", "--format", "docker-archive", "--output", str(archive), image]
            case _:
                command = ["push", "--quiet", image, f"docker-archive:{archive}"]
        self._run(command, "save the image")

    def remove(self, image: str) -> None:
        """Removes the image `image` from the builder's store. Raises ImageError."""
        self._run(["rmi", image], "remove the image")

    def layers(self, reference: str) -> str | None:
        """Returns the content hashes of the image `reference`; None if it is not on this machine."""
        match self.name:
            case "buildah":
                command = ["inspect", "--type", "image", "--format", "{{.OCIv1.RootFS.DiffIDs}}", reference]
            case _:
                command = ["image", "inspect", "--format", "{{.RootFS.Layers}}", reference]
        done = subprocess.run([self.name, *command], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def _run(self, arguments: Sequence[str], what: str) -> None:
        # Both streams are read as one, in order, because the reason may be in either.
        done = subprocess.run(
            [self.name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-_REASON_LINES:])
            raise ImageError(f"{self.name} could not {what} (exit code {done.returncode}). It said last:\n{last}")


def find_builder() -> Builder:
    """Returns the first of `BUILDERS` that works here. Raises ImageError."""
    problems = []
    for name in BUILDERS:
        if shutil.which(name) is None:
            continue
        # Docker's client does not work without its daemon.
        done = subprocess.run([name, "version"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return Builder(name)
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        problems.append(f"{name} does not work: {said[-1]}")
    raise ImageError(
        f"An image is built with Docker, Podman or Buildah ({'; '.join(problems) or 'none of them is installed'}). "
        "On Debian: apt-get install buildah squashfs-tools."
    )
