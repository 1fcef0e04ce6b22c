"""The docs' links lead somewhere, and the map of the code in docs/architecture.md is that of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
    """The modules and folders that the table of a package names."""
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
