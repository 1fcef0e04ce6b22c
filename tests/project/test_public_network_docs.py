"""Every command of docs/public-network.md exists with its options, and those that need no real network run.

A command that needs the network, real money or an image cannot run in a test. It is listed below with the reason, so
that a new command on the page either runs or has a reason here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from ava_folder import make_ava_folder

from requestor.commands.main import main
from requestor.devnet.services.daemons import find_yagna
from requestor.devnet.state import Devnet

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "public-network.md").read_text(encoding="utf-8")
LINES = [line.strip() for line in re.findall(r"^ {4,}(\S.*)$", PAGE, re.MULTILINE)]
COMMAND_LINES = [re.sub(r"^export \w+=\$\((.*)\)$", r"\1", line) for line in LINES]

RUN = (
    "nima-golem doctor",
    "nima-golem train --ava tiny-ava --budget 0.5GLM --estimate",
    "yagna payment status --network hoodi",
    "yagna id show",
)
NOT_RUN = {
    "nima-golem devnet": "other tests start and stop devnets",
    "nima-golem train": "the README's test trains; on a real network it needs providers",
    "nima-golem image": "tests/requestor/image_build/test_image.py builds and verifies; a push needs the registry",
    "nima-golem doctor --": "the image, and polygon, are out of reach",
    "nima-golem offers": "it listens for 20 s; tests/requestor/commands/test_offers_command.py runs it",
    "nima-golem runs show": "there is no run of the real network here",
    "yagna service": "it would join the real network, or stop the devnet's daemon",
    "yagna app-key create": "it would change the devnet's daemon",
    "yagna payment fund": "needs the faucet",
    "yagna payment status --network polygon": "needs the network",
    "yagna payment transfer": "needs the network, and money",
    "yagna payment release-allocations": "it would end what other tests do",
    "pip install": "needs the package index",
    "export NIMA_GOLEM_IMAGE_FILE": "no command",
}


def test_every_line_is_run_or_excused() -> None:
    for line in COMMAND_LINES:
        assert line in RUN or any(line.startswith(start) for start in NOT_RUN), line
    assert all(any(line.startswith(start) for line in COMMAND_LINES) for start in NOT_RUN)
    assert set(RUN) <= set(COMMAND_LINES)


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("nima-golem ")])
def test_the_command_has_these_options(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = main.get_command(click.Context(main), name)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    values = [word for word in words if not word.startswith("--")]
    takes_value = [p for p in command.params if isinstance(p, click.Argument) or not getattr(p, "is_flag", False)]
    assert len(values) <= len(takes_value)


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("yagna ")])
def test_the_daemon_has_these_options(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)[1:]
    command: list[str] = []
    while words and not words[0].startswith("--") and len(command) < 2:
        command.append(words.pop(0))
    environment = os.environ | {"YAGNA_DATADIR": str(tmp_path)}
    shown = subprocess.run(
        [str(find_yagna()), *command, "--help"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "USAGE" in shown
    assert {word for word in words if word.startswith("--") and word not in shown} == set()
    if "--network" in words:
        assert words[words.index("--network") + 1] in shown


@pytest.mark.golem
@pytest.mark.usefixtures("chain_programs")
def test_these_commands_run(devnet: Devnet, tmp_path: Path) -> None:
    make_ava_folder(tmp_path / "tiny-ava")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line in RUN:
        done = subprocess.run(
            shlex.split(line),
            cwd=tmp_path,
            env=os.environ | devnet.environment() | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout, line
