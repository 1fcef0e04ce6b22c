"""The docs' links have targets, and the map of the code in docs/architecture.md matches the code."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from requestor.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
            waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert sorted(set(PAGES) - reached) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:nima|requestor|provider_image|scripts|tests|docs)/[\w./-]*)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_tests_that_are_named_exist() -> None:
    named = [test for page in PAGES for test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text("utf-8"))]
    missing = [(file, test) for file, test in named if f"def {test}(" not in (ROOT / file).read_text("utf-8")]
    assert missing == []


def test_every_line_about_a_malicious_provider_names_its_tests() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    table = page.partition("| It can |")[2].partition("\n\n")[0]
    lines = [line for line in table.splitlines()[2:] if "`tests/" not in line.rpartition(" | ")[2]]
    assert lines == []


def tree() -> dict[str, str]:
    """The packages that docs/architecture.md lists, each with its sentence."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^ *- `((?:nima|requestor)/[\w/]+)/`: (.*)$", page, re.MULTILINE))


def test_the_map_lists_every_package_with_the_sentence_of_its_face() -> None:
    faces = [path for top in ("nima", "requestor") for path in (ROOT / top).glob("*/**/__init__.py")]
    texts = {str(path.parent.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in faces}
    sentences = {name: (ast.get_docstring(module) or "").partition("\n\n")[0] for name, module in texts.items()}
    assert tree() == sentences


def test_a_package_stands_on_the_map_below_those_that_it_uses() -> None:
    """Subpackages stand behind their parent, so only the order of whole families tells something."""
    families = list(dict.fromkeys(".".join(name.split("/")[:2]) for name in tree()))
    wrong = [
        (family, used)
        for family in families
        for path in (ROOT / family.replace(".", "/")).rglob("*.py")
        for used in re.findall(r"^ *from ((?:nima|requestor)\.\w+)", path.read_text("utf-8"), re.MULTILINE)
        if used in families and families.index(used) > families.index(family)
    ]
    assert wrong == []


def commands(page: Path) -> list[str]:
    """Returns the lines of a page's indented blocks that call this program, also from within another command."""
    lines = re.findall(r"^ {4,}(\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [found for line in lines for found in re.findall(r"nima-golem [a-z][^|)`]*", line)]


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
