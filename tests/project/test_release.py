"""Checks the workflows: secrets are named, the commands they call exist. No file names a package registry."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from requestor.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Put together here, because this file is searched, too.
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"))]


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_every_secret_is_named_on_the_page() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    used = {name for path in WORKFLOWS for name in re.findall(r"secrets\.(\w+)", path.read_text(encoding="utf-8"))}
    assert used == set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) != set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_step_calls_scripts_and_options_that_exist(path: Path) -> None:
    for line in "\n".join(step.get("run", "") for step in steps(path)).splitlines():
        for script in re.findall(r"\./(scripts/\w+)", line):
            assert (ROOT / script).is_file(), line
        for called in re.findall(r"nima-golem ((?:image|models|--help)[^|&]*)", line):
            name, *words = shlex.split(called)
            if name.startswith("-"):
                continue
            command = main.get_command(click.Context(main), name)
            assert isinstance(command, click.Group)
            known = {option for p in command.commands[words[0]].params for option in p.opts}
            assert {word for word in words if word.startswith("-")} <= known, line


def test_no_file_names_the_host_of_a_package_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        content = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        assert not [host for host in HOSTS if host.encode() in content], name
