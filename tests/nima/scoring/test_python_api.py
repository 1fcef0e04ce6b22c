"""The package as a library: the examples in its documentation work, and importing it loads nothing slow."""

from __future__ import annotations

import doctest
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nima
from nima.weights.fetching import import_weights

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
KERAS = DATA / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
PACKAGE = Path(nima.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path != PACKAGE / "__init__.py" and ">>> " in path.read_text()
)


def test_importing_the_package_imports_neither_torch_nor_numpy() -> None:
    program = "import sys, nima; dir(nima); print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_public_names_are_there() -> None:
    assert {getattr(nima, name).__name__ for name in nima.__all__} == set(nima.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Scorers'"):
        nima.Scorers  # noqa: B018


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")
def test_the_documentation_of_the_package_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    import_weights("mobilenet_v1-ava", KERAS)
    shutil.copy(DATA / "photos" / "flower.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(nima)
    assert results.attempted >= 4
    assert results.failed == 0
