"""The real provider image. As it takes minutes to build, only where NIMA_GOLEM_IMAGE_BUILD_BASE names a container image
to build it on. One that was built before of the same sources is taken from the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nima import checkpoint
from nima.model import initial_model
from nima.weights import cache_folder
from requestor.image.gvmi import ImageInfo, read_image
from requestor.image.squashfs import list_files
from tests.test_readme import environment

BASE = os.environ.get("NIMA_GOLEM_IMAGE_BUILD_BASE", "")
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "image.md").read_text("utf-8")
COMMANDS = re.findall(r"^ {4}(nima-golem image .*)$", PAGE, re.M)

pytestmark = [
    pytest.mark.skipif(not BASE, reason="needs NIMA_GOLEM_IMAGE_BUILD_BASE, a container image to build on"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("mksquashfs", "unsquashfs"))) or not any(map(shutil.which, ("buildah", "podman"))),
        reason="needs squashfs-tools, and buildah or podman",
    ),
    pytest.mark.timeout(3600),
]


def run(command: str, folder: Path) -> str:
    variables = environment(folder) | {"NIMA_GOLEM_IMAGE_BUILD_MODELS": "model.safetensors"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With `provider.gvmi`, as the first command on the page leaves it, but for a model in it."""
    folder = tmp_path_factory.mktemp("image")
    checkpoint.save(folder / "model.safetensors", initial_model("mobilenet_v3_small", None, seed=2), {"of": "a test"})
    run(COMMANDS[0], folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(folder: Path) -> ImageInfo:
    return read_image(folder / "provider.gvmi")


def test_it_is_small(image: ImageInfo) -> None:
    assert image.size < 350e6


def test_it_holds_the_program_and_nothing_that_installs_or_compiles(image: ImageInfo) -> None:
    paths = [path for path, _ in list_files(image.path)]
    assert {"/opt/nima-golem/nima/jobs.py", "/opt/nima-golem/provider_image/__main__.py"} <= set(paths)
    folders = r"/(requestor|yapapi|pip|setuptools|ensurepip|include)/"
    programs = r"/bin/(\S+-)?(gcc|g\+\+|cc|c\+\+|ld|as|make|pip)[0-9.-]*$"
    assert [path for path in paths if re.search(f"{folders}|{programs}", path)] == []
    assert [path for path in paths if re.match(r"/opt/nima-golem/.*\.[ah]$", path)] == []


def test_every_source_of_ours_is_compiled(image: ImageInfo) -> None:
    paths = {path for path, _ in list_files(image.path)}
    for name in ("nima", "provider_image"):
        sources = [path for path in paths if re.match(rf"/opt/nima-golem/{name}/[^/]+\.py$", path)]
        assert sources
        for path in sources:
            folder, _, file = path.rpartition("/")
            assert f"{folder}/__pycache__/{file.removesuffix('.py')}.cpython-311.pyc" in paths


def test_its_program_does_every_kind_of_job(folder: Path) -> None:
    checks = [json.loads(line) for line in run("nima-golem image verify --json provider.gvmi", folder).splitlines()]
    assert [check["name"] for check in checks] == [
        *("format", "version", "config", "boot", "embed", "train", "evaluate", "benchmark", "model")
    ]


def test_what_has_not_changed_is_not_built_again(folder: Path, image: ImageInfo) -> None:
    (kept,) = (cache_folder() / "images").glob("*.gvmi")
    before = kept.stat()
    said = json.loads(run("nima-golem image build --output again.gvmi --json", folder))
    assert said["sha3_224"] == image.sha3_224
    assert kept.stat().st_mtime == before.st_mtime
    assert (folder / "again.gvmi").read_bytes() == image.path.read_bytes()


def test_the_commands_on_the_page_run(folder: Path) -> None:
    commands = [command for command in COMMANDS if " push " not in command]  # needs an account
    assert len(commands) >= 3
    for command in commands:
        assert run(command, folder)
