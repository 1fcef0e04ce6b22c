"""Writes docs/python.md, the page with the docstrings of the Python API: `python -m scripts.docs.python_page`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nima

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
COMMAND = "python -m scripts.docs.python_page"

_MADE_BY_USERS = (nima.Scorer, nima.ScoreCache)  # the others are results and errors
_HEAD = f"""\
# From Python

This page holds the docstrings of what `nima` offers to Python programs. `{COMMAND}` writes it; do
not edit it by hand. [score_folder.py](examples/score_folder.py) is a whole program. To train, use the command line:
with `--json`, each command prints an object that a program can read.

```python
{{example}}
```
"""


def python_page() -> str:
    """Returns the page as Markdown."""
    example = inspect.cleandoc(nima.__doc__ or "").partition("\n\n")[2]
    lines = [_HEAD.format(example=example)]
    for name in nima.__all__:
        one = getattr(nima, name)
        lines += _entry(f"`nima.{name}`", 2, name, one, with_arguments=one in _MADE_BY_USERS)
        for method, function in vars(one).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                lines += _entry(f"`{name}.{method}`", 3, method, function, with_arguments=True)
    return "\n".join(lines)


def _entry(title: str, level: int, name: str, one: Callable[..., Any], *, with_arguments: bool) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    signature = f"{name}{inspect.signature(one)}\n\n" if with_arguments else ""
    yield f"```text\n{signature}{inspect.getdoc(one)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(python_page(), encoding="utf-8")
