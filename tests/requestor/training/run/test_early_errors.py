"""Wrong settings end a run before a photo is read: weights, network, folder, disk, and a Golem that is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from run_commands import nima_golem

UNREACHABLE = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava")


def train(ava: Path, *options: str, before: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command; `before` is a program that runs it."""
    arguments = ["train", "--ava", str(ava), "--budget", "2GLM", *options]
    absent = [name for name in os.environ if name.startswith(("YAGNA", "GSB"))]
    if not before:
        return nima_golem(*arguments, environment={**dict.fromkeys(absent), **variables})
    command = [*before, sys.executable, "-m", "requestor.commands.main", *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in absent}
    return subprocess.run(command, env=kept | variables, capture_output=True, text=True, timeout=280)


def complaint(done: subprocess.CompletedProcess[str], exit_code: int = 1) -> str:
    """Returns the message of a command that has failed as it should, and without having read a photo."""
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "photos to train on" not in done.stderr
    return done.stderr


def test_weights_that_cannot_be_had(ava: Path, tmp_path: Path) -> None:
    options = ("--backend", "local", "--backbone", "resnet18", "--run-dir", str(tmp_path / "run"))
    said = complaint(train(ava, *options, NIMA_GOLEM_CACHE=str(tmp_path / "cache"), **UNREACHABLE))
    assert "The weights resnet18-imagenet could not be fetched" in said
    assert "nima-golem models import resnet18-imagenet FILE" in said
    assert list((tmp_path / "run" / "store").iterdir()) == []


def test_a_network_that_does_not_exist(ava: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = complaint(train(ava, "--backend", "local", "--backbone", "alexnot", "--run-dir", str(run)))
    assert "alexnot" in said
    assert "mobilenet_v2" in said  # one of those that exist
    assert not run.exists()


def test_a_run_folder_that_cannot_be_written(ava: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = tmp_path / "file" / "run"
    said = complaint(train(ava, "--backend", "local", "--run-dir", str(run)))
    assert f"{run} cannot be written (Not a directory): choose another --run-dir." in said


def test_a_disk_without_room(ava: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=3m tmpfs {small} && exec "$@"'
    namespaces = (shutil.which("unshare") or "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let a user mount a small file system")
    said = complaint(train(ava, "--backend", "local", "--run-dir", str(small / "run"), before=namespaces))
    assert f"MB in {small / 'run'}, and 3 MB are free there" in said


def test_without_a_golem_the_ways_out_are_said(ava: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    nowhere = {"XDG_DATA_HOME": str(tmp_path)}  # no devnet is found there
    without_key = complaint(train(ava, "--run-dir", str(run), **nowhere))
    assert "set YAGNA_APPKEY" in without_key
    closed = {"YAGNA_APPKEY": "secret", "YAGNA_API_URL": "http://127.0.0.1:9"}
    without_daemon = complaint(train(ava, "--run-dir", str(run), **nowhere, **closed))
    assert "No yagna daemon answers at http://127.0.0.1:9" in without_daemon
    for said in (without_key, without_daemon):
        for way in ("`--devnet`", "`--backend local`", "`nima-golem doctor`", "`nima-golem devnet up --detach`"):
            assert way in said
    assert not run.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--providers", "2"), "give --devnet, too"),
        (("--devnet", "--backend", "local"), "--backend local hires nobody"),
        (("--devnet", "--network", "polygon"), "leave --network polygon out"),
    ],
)
def test_options_that_contradict_a_devnet_of_the_run(
    ava: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    said = complaint(train(ava, *options, "--run-dir", str(tmp_path / "run"), XDG_DATA_HOME=str(tmp_path)), exit_code=2)
    assert message in said
    assert not (tmp_path / "run").exists()
