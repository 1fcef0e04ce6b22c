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
    """Beside it, one module gathers what is private in yapapi; it imports types, and the class of a private field."""
    users = {
        str(path.relative_to(ROOT))
        for path in sources("requestor")
        if any(name.split(".")[0] in YAPAPI for name in imported(path))
    }
    assert users <= {"requestor/backends/golem.py", "requestor/backends/yapapi_private.py"}


def test_what_is_private_in_yapapi_is_used_in_one_module() -> None:
    path = ROOT / "requestor" / "backends" / "golem.py"
    private = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")
        if ast.unparse(node.value) != "self"
    ]
    assert private == []


# What runs an image's programs, and the image: neither knows of the devnet around them, nor how an image is built.
VM = {"image_cache", "runtime", "sandbox", "sandbox_init", "usage", "volumes"}
BUILDING = {"archive", "build", "builders", "push", "verify", "wheels"}
SETUP = {"checkup"}  # the doctor's


def test_images_and_their_runtime_stand_below_the_devnet_and_below_image_building() -> None:
    vm = {f"requestor.devnet.{name}" for name in VM}
    building = {f"requestor.image.{name}" for name in BUILDING | SETUP}
    wrong = []
    for path in sources("requestor"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        devnet = {name for name in imported(path) if name.startswith("requestor.devnet")}
        image = {name for name in imported(path) if name.startswith("requestor.image.")}
        if module in vm:
            wrong += [(module, name) for name in (devnet - vm) | (image & building)]
        elif module.startswith("requestor.image."):
            wrong += [(module, name) for name in devnet - (vm if module in building else set())]
            wrong += [(module, name) for name in (image & building) if module not in building]
    assert wrong == []


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
