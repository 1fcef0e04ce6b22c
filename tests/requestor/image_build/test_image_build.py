"""The real provider image.

Building it takes minutes, so these tests run only if NIMA_GOLEM_IMAGE_BUILD_BASE names a container image to build it
on. An image that was built before from the same sources is taken from the cache.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ava_folder import make_ava_folder
from shell_environment import environment

from nima.model import checkpoint
from nima.model.preparation import Preparation
from nima.safe_io.cache import cache_folder
from requestor.devnet.network import NetworkOptions
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.errors import DevnetError
from requestor.image.gvmi import ImageInfo, read_image
from requestor.image.paths import TASK_MEMORY_GIB
from requestor.image.squashfs import list_files
from requestor.image_build.self_test import drawn_model, drawn_photos
from requestor.image_build.verify import Check, verify_image
from requestor.vm.machine.kernel import debian_kernel
from requestor.vm.machine.virtual_machine import QEMU, MachineOptions

BASE = os.environ.get("NIMA_GOLEM_IMAGE_BUILD_BASE", "")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "image.md").read_text("utf-8")
COMMANDS = re.findall(r"^ {4}(nima-golem image .*)$", PAGE, re.M)

pytestmark = [
    pytest.mark.skipif(not BASE, reason="needs NIMA_GOLEM_IMAGE_BUILD_BASE, a container image to build on"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("mksquashfs", "unsquashfs"))) or not any(map(shutil.which, ("buildah", "podman"))),
        reason="needs squashfs-tools, and buildah or podman",
    ),
    pytest.mark.timeout(3600),
]


def run(command: str, folder: Path, **more: str) -> str:
    return started(command, folder, **more).stdout


def started(command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = environment(folder) | {"NIMA_GOLEM_IMAGE_BUILD_MODELS": "model.safetensors"} | more
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Makes a folder with `provider.gvmi`, as the first command on the page writes it, but with a model in it."""
    folder = tmp_path_factory.mktemp("image")
    checkpoint.save(folder / "model.safetensors", drawn_model(drawn_photos(Preparation())), {"of": "a test"})
    steps = started(COMMANDS[0], folder).stderr
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nThe provider image:\n{steps}", file=sys.stderr)  # so that CI's log shows how long it took
    assert re.fullmatch(r"( *\d+\.\d s [A-Z].*\n)+", steps)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(folder: Path) -> ImageInfo:
    return read_image(folder / "provider.gvmi")


def test_it_is_small(image: ImageInfo) -> None:
    assert image.size < 350e6


def test_it_holds_the_program_and_nothing_that_installs_or_compiles(image: ImageInfo) -> None:
    paths = [path for path, _ in list_files(image.path)]
    assert {"/opt/nima-golem/nima/wire/jobs.py", "/opt/nima-golem/provider_image/__main__.py"} <= set(paths)
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
    (verify,) = (command for command in COMMANDS if " verify " in command and "--vm" not in command)
    checks = [json.loads(line) for line in run(f"{verify} --json", folder).splitlines()]
    assert [check["name"] for check in checks] == [
        *(
            "format",
            "version",
            "config",
            "boot",
            "embed",
            "versions",
            "train",
            "evaluate",
            "benchmark",
            "model",
            "environment",
        )
    ]


def test_its_program_works_in_a_virtual_machine_without_avx(image: ImageInfo) -> None:
    """Emulates the machine, as not every machine that runs tests has a KVM that works: minutes of a core."""
    if "NIMA_GOLEM_VM_JOB" not in os.environ:
        pytest.skip("runs with NIMA_GOLEM_VM_JOB=1")
    if shutil.which(QEMU) is None:
        pytest.skip("needs qemu-system-x86")
    try:
        kernel = debian_kernel()
    except DevnetError as error:
        pytest.skip(str(error))
    machine = MachineOptions(kernel, int(TASK_MEMORY_GIB * 2**30), cpu="Nehalem", accelerators=("tcg",))

    async def run() -> dict[str, Check]:
        return {check.name: check async for check in verify_image(image.path, ["embed"], machine)}

    checks = asyncio.run(run())
    assert list(checks) == ["format", "version", "config", "boot", "embed", "versions"]
    left = checks["embed"].measured
    assert 0.5 < left["available"] / left["total"] < 1
    assert left["written"] < 2**20


def test_a_run_in_the_image_gives_what_plain_subprocesses_give_bit_for_bit(folder: Path, devnets_home: Path) -> None:
    """Compares features, a round of training and the evaluation, with the least memory that a provider must have."""
    make_ava_folder(folder / "ava", images=24, tested=4)
    # As many threads as each of two local workers gets: sums in floating point depend on their number.
    machine = {"threads": max(1, (os.cpu_count() or 1) // 2), "memory_gib": TASK_MEMORY_GIB}
    options = NetworkOptions("in-the-image", providers=2, image=str(folder / "provider.gvmi"), agent=machine)
    train = "nima-golem train --ava ava --budget 2GLM --strategy fine-tune --rounds 1 --workers 2 --json"
    devnet = start_devnet(options)
    try:
        there = run(f"{train} --backend golem --run-dir there", folder, **devnet.environment())
    finally:
        stop_devnet(devnet)
    here = run(f"{train} --backend local --run-dir here", folder)
    there, here = (json.loads(output.splitlines()[-1]) for output in (there, here))
    assert (there["backend"], here["backend"]) == ("golem", "local")
    assert there["metrics"] == here["metrics"]
    updates, expected_updates = (contents_of_updates(folder / name) for name in ("there", "here"))
    assert len(updates) >= 2
    assert updates == expected_updates
    assert (folder / "there" / "predictions.csv").read_bytes() == (folder / "here" / "predictions.csv").read_bytes()
    weights, expected = (
        checkpoint.load(folder / name / "model.safetensors")[0].state_dict() for name in ("there", "here")
    )
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_what_starting_costs_is_measured_in_the_image(folder: Path) -> None:
    bench = Path(__file__).resolve().parents[3] / "scripts" / "benchmarks" / "cold_start.py"
    measured = json.loads(run(f"python {bench} --runs 1 --photos 8 --image provider.gvmi --json", folder))
    assert list(measured["stages_s"]) == ["import torch", "other imports", "model", "shard"]
    assert measured["until_first_batch_s"] > measured["stages_s"]["import torch"] > 0


def contents_of_updates(run_dir: Path) -> dict[str, str]:
    """Returns job → hash of its result, in the run's rounds."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {update["job"]: update["content"] for line in lines if line["round"] for update in line["updates"]}


def test_what_has_not_changed_is_not_built_again(folder: Path, image: ImageInfo) -> None:
    (kept,) = (cache_folder() / "images").glob("*.gvmi")
    before = kept.stat()
    said = json.loads(run("nima-golem image build --output again.gvmi --json", folder))
    assert said["sha3_224"] == image.sha3_224
    assert kept.stat().st_mtime == before.st_mtime
    assert (folder / "again.gvmi").read_bytes() == image.path.read_bytes()


def test_the_other_commands_on_the_page_run(folder: Path) -> None:
    # The first one has made the image, another test verifies it, and `push` needs an account.
    commands = [command for command in COMMANDS[1:] if not re.search(" (push|verify) ", command)]
    assert commands
    for command in commands:
        assert run(command, folder)
