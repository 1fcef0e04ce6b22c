"""The import rule: requestor → nima ← provider_image, and the outside modules that each of them may use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nima", "provider_image", "requestor")

# package → top-level modules that nothing in it may import, anywhere in a file
FORBIDDEN = {
    "nima": {"requestor", "provider_image", "yapapi", "click", "rich", "aiohttp"},
    "provider_image": {"requestor", "yapapi", "click", "rich", "aiohttp"},
    "requestor": {"provider_image"},
}
YAPAPI = {"yapapi", "ya_market", "ya_payment", "ya_activity"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yields the dotted names of every import in a file, at any depth; relative ones as absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            yield ".".join([*base, node.module] if node.module else base)


def test_all_packages_are_seen() -> None:
    assert all(len(sources(package)) > 2 for package in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imported(path)
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert wrong == []


def test_one_module_of_the_requestor_imports_yapapi() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in sources("requestor")
        if any(name.split(".")[0] in YAPAPI for name in imported(path))
    }
    assert users <= {"requestor/backends/golem.py"}


def test_nothing_is_imported_by_name_in_a_string() -> None:
    """`importlib` would bypass the rule; only the lazy command line needs it, for commands of its own package."""
    users = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }
    # Lazy imports: the commands of the command line, and the public names of `nima`.
    assert users <= {"requestor/cli.py", "nima/__init__.py"}


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "misc", "common"}
    assert [path for package in PACKAGES for path in sources(package) if path.stem in drawers] == []
