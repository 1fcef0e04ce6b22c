"""Tries the variables of a devnet in a shell: they can be taken back, and those of a devnet that is gone are found."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from run_commands import nima_golem

from requestor.devnet import DEVNET_VARIABLES, Devnet, devnet_folder
from requestor.devnet.state import ChainState, NodeState, process_started
from requestor.errors import DevnetError
from requestor.setup import golem_environment


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Returns the variables of a devnet that no longer runs."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")  # without a gftp of its own
    folder = devnet_folder("old")
    daemon = NodeState(
        "requestor", "0x1", "http://127.0.0.1:1", "tcp://127.0.0.1:2", "key", str(folder / "daemons" / "r")
    )
    chain = ChainState("http://127.0.0.1:3", "0x2")
    devnet = Devnet("old", str(folder), os.getpid(), 0, "devnet-old", daemon, (), chain, "http://127.0.0.1:4", "0")
    assert process_started(os.getpid()) != 0
    return {"NIMA_GOLEM_DEVNET": "old", **devnet.environment()}


def test_all_variables_but_path_are_listed(gone: dict[str, str]) -> None:
    assert set(DEVNET_VARIABLES) == gone.keys() - {"PATH"}


def test_a_shell_takes_them_back(gone: dict[str, str]) -> None:
    commands = nima_golem("devnet", "env", "--unset", environment=gone).stdout
    done = subprocess.run(["/bin/bash", "-c", f"{commands}\nexport -p"], env=gone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name for name in DEVNET_VARIABLES if f"-x {name}=" in done.stdout] == []
    assert '-x PATH="/nowhere"' in done.stdout


def test_a_stale_shell_is_told_so(gone: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gone.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DevnetError, match=r"the devnet old, which no longer runs.*--unset"):
        golem_environment()
    monkeypatch.setenv("YAGNA_DATADIR", "/home/me/yagna")  # a daemon of the user's own
    assert golem_environment()["YAGNA_APPKEY"] == "key"
