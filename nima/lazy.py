"""Lets a package list its names without importing them: loads a module when one of its names is used.

`import torch` takes seconds, and many names need no torch. So `--help` need not wait for torch, and the provider's
program can read its job before it imports torch. The method is PEP 562, in the form of Scientific Python's SPEC 1.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attach(package: str, names: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes a package's `__getattr__` and `__dir__`; the former raises `AttributeError` for any other name.

    Args:
        package: dotted name of the package, its `__name__`.
        names: module of the package → the names that the package offers from it. The module itself is offered, too.

    Example:
        >>> __getattr__, __dir__ = attach("nima.ratings", {"loss": ["emd"], "metrics": ["Metrics"]})
        >>> __getattr__("Metrics").__module__
        'nima.ratings.metrics'
        >>> __dir__()
        ['Metrics', 'emd', 'loss', 'metrics']
    """
    module_of = {name: module for module, defined in names.items() for name in defined}

    def __getattr__(name: str) -> Any:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    return __getattr__, lambda: sorted({*module_of, *names})
