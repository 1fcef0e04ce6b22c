"""Checks the structure: which package may import which, that others import faces only, and that places stay small."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("nima", "provider_image", "requestor")

# package → the packages that its modules may import, through their faces; every package may also import BASE
ALLOWED: dict[str, set[str]] = {
    "nima.safe_io": set(),
    "nima.photos": {"nima.safe_io"},
    "nima.ratings": set(),
    "nima.ava": {"nima.photos", "nima.ratings", "nima.safe_io"},
    "nima.tiny_ava": {"nima.ava", "nima.ratings"},
    "nima.model": {"nima.ava", "nima.photos", "nima.ratings", "nima.safe_io"},
    "nima.wire": {"nima.ratings", "nima.safe_io"},
    "nima.training": {"nima.model", "nima.ratings", "nima.safe_io", "nima.wire"},
    "nima.weights": {"nima.model", "nima.ratings", "nima.safe_io"},
    "nima.scoring": {"nima.ava", "nima.model", "nima.photos", "nima.ratings", "nima.safe_io", "nima.weights"},
    "nima.xmp": {"nima.photos", "nima.safe_io"},
    "nima.datasets": {"nima.ava", "nima.photos", "nima.ratings", "nima.safe_io", "nima.xmp"},
    "nima.explain": {"nima.photos", "nima.scoring"},
    "requestor.golem.bus": {"nima.safe_io"},
    "requestor.golem.gftp": {"nima.safe_io", "requestor.golem.bus"},
    "requestor.devnet.faults": {"nima.safe_io", "nima.wire"},
    "requestor.image": {"nima.safe_io", "nima.wire"},
    "requestor.records": {"nima.model", "nima.safe_io"},
    "requestor.training.data": {"nima.ava", "nima.model", "nima.photos", "nima.wire", "requestor.planning"},
    "requestor.money": {"requestor.records"},
    "requestor.golem": {"nima.safe_io", "requestor.money", "requestor.records"},
    "requestor.scoring.serving": {"nima.photos", "nima.safe_io", "nima.scoring"},
    "requestor.backends.market": {"nima.safe_io", "requestor.golem", "requestor.money"},
    "requestor.planning": {"nima.wire"},
    "requestor.backends": {
        "nima.safe_io",
        "nima.wire",
        "requestor.backends.market",
        "requestor.golem",
        "requestor.golem.gftp",
        "requestor.image",
        "requestor.money",
        "requestor.planning",
        "requestor.records",
    },
    "requestor.audits": {"nima.model", "nima.safe_io", "nima.training", "nima.wire", "requestor.backends"},
    "requestor.devnet.services": {"nima.safe_io", "requestor.golem", "requestor.golem.bus", "requestor.image"},
    "requestor.terminal": {"nima.safe_io", "nima.scoring", "nima.weights", "requestor.golem", "requestor.money"},
    "requestor.vm.machine": {"nima.safe_io", "requestor.image"},
    "requestor.vm": {"requestor.golem", "requestor.image"},
    "requestor.devnet.exe_unit": {
        "requestor.devnet.faults",
        "requestor.golem",
        "requestor.golem.bus",
        "requestor.golem.gftp",
        "requestor.vm",
    },
    "requestor.image_build": {
        "nima.model",
        "nima.safe_io",
        "nima.training",
        "nima.weights",
        "nima.wire",
        "requestor.image",
        "requestor.vm",
        "requestor.vm.machine",
    },
    "requestor.scoring": {
        "nima.photos",
        "nima.ratings",
        "nima.safe_io",
        "nima.scoring",
        "nima.xmp",
        "requestor.terminal",
    },
    "requestor.taste": {
        "nima.ava",
        "nima.model",
        "nima.ratings",
        "nima.safe_io",
        "nima.scoring",
        "nima.weights",
        "nima.xmp",
        "requestor.scoring",
        "requestor.terminal",
    },
    "requestor.training.providers": {"nima.safe_io", "requestor.backends", "requestor.records"},
    "requestor.training.report": {
        "nima.ava",
        "nima.model",
        "nima.photos",
        "nima.ratings",
        "nima.safe_io",
        "requestor.golem",
        "requestor.money",
        "requestor.records",
        "requestor.terminal",
    },
    "requestor.devnet.provider": {
        "nima.safe_io",
        "requestor.devnet.exe_unit",
        "requestor.devnet.faults",
        "requestor.golem",
        "requestor.golem.bus",
        "requestor.vm",
    },
    "requestor.training.embedding": {
        "nima.ava",
        "nima.model",
        "nima.ratings",
        "nima.safe_io",
        "nima.training",
        "nima.wire",
        "requestor.audits",
        "requestor.backends",
        "requestor.planning",
        "requestor.training.data",
        "requestor.training.providers",
    },
    "requestor.training.rounds": {
        "nima.model",
        "nima.ratings",
        "nima.safe_io",
        "nima.training",
        "nima.wire",
        "requestor.audits",
        "requestor.backends",
        "requestor.planning",
        "requestor.records",
        "requestor.training.data",
        "requestor.training.providers",
    },
    "requestor.devnet": {
        "nima.safe_io",
        "requestor.devnet.faults",
        "requestor.devnet.provider",
        "requestor.devnet.services",
        "requestor.golem",
        "requestor.golem.gftp",
        "requestor.image",
        "requestor.vm",
    },
    "requestor.setup": {
        "nima.safe_io",
        "nima.wire",
        "requestor.devnet",
        "requestor.devnet.services",
        "requestor.golem",
        "requestor.image",
        "requestor.vm",
    },
    "requestor.evaluation": {
        "nima.ava",
        "nima.model",
        "nima.photos",
        "nima.ratings",
        "nima.safe_io",
        "nima.training",
        "nima.wire",
        "requestor.audits",
        "requestor.backends",
        "requestor.golem",
        "requestor.planning",
        "requestor.records",
        "requestor.setup",
        "requestor.terminal",
    },
    "requestor.training": {
        "nima.ava",
        "nima.model",
        "nima.safe_io",
        "nima.weights",
        "nima.wire",
        "requestor.audits",
        "requestor.backends",
        "requestor.evaluation",
        "requestor.golem",
        "requestor.money",
        "requestor.planning",
        "requestor.records",
        "requestor.setup",
        "requestor.terminal",
        "requestor.training.data",
        "requestor.training.providers",
    },
    "requestor.training.run": {
        "nima.ava",
        "nima.model",
        "nima.ratings",
        "nima.safe_io",
        "nima.training",
        "nima.weights",
        "nima.wire",
        "requestor.audits",
        "requestor.backends",
        "requestor.evaluation",
        "requestor.money",
        "requestor.records",
        "requestor.setup",
        "requestor.terminal",
        "requestor.training",
        "requestor.training.data",
        "requestor.training.embedding",
        "requestor.training.providers",
        "requestor.training.report",
        "requestor.training.rounds",
    },
}
BASE = {
    "nima.errors",
    "nima.version",
    "nima.lazy",
    "requestor.errors",
    "requestor.html_templates",
}  # modules that import nothing but each other
FACELESS = {"nima", "requestor", "provider_image", "requestor.commands"}  # the two APIs, and two programs
COMMANDS = "requestor.commands"  # imports any face of `requestor` and `nima`
MANY = {COMMANDS}  # packages of more than ten modules: one file a command

# top-level package → modules that nothing in it may import, anywhere in a file
FORBIDDEN = {
    "nima": {"requestor", "provider_image", "yapapi", "click", "rich", "aiohttp"},
    "provider_image": {"requestor", "yapapi", "click", "rich", "aiohttp"},
    "requestor": {"provider_image"},
}
YAPAPI = {"yapapi", "ya_market", "ya_payment", "ya_activity"}


def sources(package: str) -> list[Path]:
    """The files of a top-level package, subpackages included."""
    return sorted((ROOT / package).rglob("*.py"))


ALL = [path for package in ROOTS for path in sources(package)]


def package_of(path: Path) -> str:
    """The package that a file belongs to, dotted."""
    return ".".join(path.relative_to(ROOT).parts[:-1])


def imported(path: Path) -> Iterator[tuple[str, str | None]]:
    """Every import of a file, at any depth: the module, and the name that is taken from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} has a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)


def packages() -> set[str]:
    return {package_of(path) for path in ALL}


def ours(path: Path) -> Iterator[tuple[str, str]]:
    """The imports from this project: (package, how it is imported)."""
    known = packages()
    for module, name in imported(path):
        if module.split(".")[0] not in ROOTS:
            continue
        whole = f"{module}.{name}"
        if module in BASE or whole in BASE:
            yield "base", module
        elif module in known:
            yield module, "face"
        else:
            yield module.rpartition(".")[0], module


def test_all_packages_are_seen() -> None:
    assert all(len(sources(package)) > 2 for package in ROOTS)
    assert packages() == {*ALLOWED, *FACELESS}


@pytest.mark.parametrize("package", ROOTS)
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name, _ in imported(path)
        if name.split(".")[0] in FORBIDDEN[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_the_faces_below_it(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package.replace(".", "/")).glob("*.py")):
        for target, how in ours(path):
            if target in ("base", package):
                continue
            if target not in ALLOWED[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {target}, which {package} may not")
            elif how != "face":
                wrong.append(f"{path.relative_to(ROOT)} imports {how} and not the face {target}")
    assert wrong == []


def test_commands_import_faces() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {how} and not the face {target}"
        for path in (ROOT / COMMANDS.replace(".", "/")).glob("*.py")
        for target, how in ours(path)
        if target not in ("base", COMMANDS) and how != "face"
    ]
    assert wrong == []


def test_no_package_imports_itself_through_others() -> None:
    order = list(TopologicalSorter(ALLOWED).static_order())  # raises CycleError
    assert set(order) == set(ALLOWED)


def test_what_is_allowed_is_used() -> None:
    used = {
        package: {target for path in (ROOT / package.replace(".", "/")).glob("*.py") for target, _ in ours(path)}
        for package in ALLOWED
    }
    assert {package: allowed - used[package] for package, allowed in ALLOWED.items() if allowed - used[package]} == {}


@pytest.mark.parametrize("package", sorted({*ALLOWED, "nima"}))
def test_a_face_offers_what_it_names(package: str) -> None:
    face = importlib.import_module(package)
    assert face.__doc__
    for name in face.__all__:
        found = getattr(face, name)
        home = sys.modules.get(f"{package}.{name}")
        assert home is None or found is home, f"{package}.{name} is a module and a name: rename one"
    assert set(face.__all__) <= set(dir(face))


@pytest.mark.parametrize("package", sorted(packages()))
def test_a_package_says_in_one_sentence_what_it_does(package: str) -> None:
    face = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    first = (ast.get_docstring(face) or "").partition("\n\n")[0]
    assert first.endswith(".")


def test_faces_load_neither_torch_nor_yapapi() -> None:
    program = (
        f"import importlib, sys\nfor package in {sorted(packages())}: importlib.import_module(package)\n"
        "print(sorted({'torch', 'yapapi', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("package", sorted(packages()))
def test_a_package_has_at_most_ten_modules(package: str) -> None:
    modules = [path for path in (ROOT / package.replace(".", "/")).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 10 or package in MANY


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in [*ALL, *sorted((ROOT / "scripts").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Returns whether click calls the function, so that its parameters are options."""
    return any(isinstance(one, ast.Call) and ast.unparse(one.func).endswith(".command") for one in node.decorator_list)


def test_functions_are_short_and_take_few_parameters() -> None:
    wrong = []
    for name, node in functions():
        arguments = node.args
        parameters = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
        # A command's options and its docstring, which is its help, are not counted.
        first = node.body[1 if ast.get_docstring(node) else 0 :] if is_command(node) else [node]
        lines = (node.end_lineno or 0) - first[0].lineno + 1 if first else 0
        if lines > 80 or (parameters > 9 and not is_command(node)):
            wrong.append(f"{name}: {lines} lines, {parameters} parameters")
    assert wrong == []


def test_docstrings_begin_with_what_is_done() -> None:
    clauses = []
    for path in [*ALL, *sorted((ROOT / "scripts").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if re.match(r"(What|Who|Whose|How|Where|Which|Whether|When)\b", text):
                    clauses.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert len(clauses) <= 20, clauses


def yapapi_users() -> set[Path]:
    """The modules of the requestor that import yapapi, or the clients below it."""
    return {path for path in sources("requestor") if any(name.split(".")[0] in YAPAPI for name, _ in imported(path))}


def test_one_backend_and_its_market_import_yapapi() -> None:
    backends = ROOT / "requestor" / "backends"
    assert yapapi_users() == {backends / "golem.py", *(backends / "market").glob("[!_]*.py")}


def test_the_private_names_of_yapapi_are_used_in_one_module() -> None:
    private = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in yapapi_users()
        if path.name != "yapapi_private.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")
        if ast.unparse(node.value) != "self"
    ]
    assert private == []


def test_nothing_is_imported_by_name_in_a_string() -> None:
    """`importlib` would go round the rules; only the lazy faces and the lazy command line need it."""
    users = {
        str(path.relative_to(ROOT))
        for path in ALL
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }
    assert users <= {"requestor/commands/main.py", "nima/lazy.py"}


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "misc", "common"}
    assert [path for path in ALL if path.stem in drawers] == []
