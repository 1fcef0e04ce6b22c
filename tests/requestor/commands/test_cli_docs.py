"""docs/cli.md holds the help of every command as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_tree import commands

from requestor.commands.main import main
from scripts.docs.cli_page import COMMAND, PAGE, cli_page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == cli_page(), f"docs/cli.md is out of date. Update it: {COMMAND}"


def test_every_command_and_subcommand_has_a_heading() -> None:
    headings = {line.strip("# `") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("##")}
    assert {f"nima-golem {' '.join(path)}" for path in commands(main)} <= headings


def test_the_page_is_the_same_on_every_machine_and_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = cli_page()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NIMA_GOLEM_DEVNET", "another")
    monkeypatch.chdir(tmp_path)
    assert cli_page() == page
    for path in (Path(__file__).resolve().parents[3], Path.home(), tmp_path):
        assert f"{path}/" not in page
