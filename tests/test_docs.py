"""The docs' links have targets, and the map of the code in docs/architecture.md matches the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from requestor.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:nima|requestor|provider_image|scripts|tests|docs)/[\w./-]*)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def mapped(package: str) -> set[str]:
    """Returns the modules and folders that the table of a package names."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split(f"## `{package}/`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("package", ["nima", "requestor"])
def test_what_the_map_names_exists(package: str) -> None:
    folder = ROOT / package
    missing = {
        name
        for name in mapped(package)
        if not (folder / name).is_dir() and not any(folder.glob(f"{name.replace('…', '*')}.py"))
    }
    assert missing == set()


def test_every_module_of_the_model_is_on_the_map() -> None:
    modules = {path.stem for path in (ROOT / "nima").glob("*.py")} - {"__init__", "errors", "version"}
    assert modules - mapped("nima") == set()


def commands(page: Path) -> list[str]:
    """Returns the lines of a page's indented blocks that call this program, also from within another command."""
    lines = re.findall(r"^ {4,}(\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [found for line in lines for found in re.findall(r"nima-golem [a-z][^|)]*", line)]


@pytest.mark.parametrize(
    "line", list(dict.fromkeys(line.strip() for page in PAGES for line in commands(page))), ids=lambda line: line[:50]
)
def test_every_command_on_every_page_has_these_options(line: str) -> None:
    name, *words = shlex.split(line, comments=True)[1:]
    command = main.get_command(click.Context(main), name)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= known


def test_the_devnet_fixture_on_its_page_is_the_one_that_these_tests_use() -> None:
    page = (ROOT / "docs" / "devnet.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n.*?def devnet\(\):\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    ours = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    body = ours.split("\ndef devnet(", 1)[1].split('"""\n', 1)[1].split("\n\n", 1)[0]
    assert lines == [line.strip() for line in body.splitlines()]
