"""Every message that docs/troubleshooting.md explains is one that the program can print."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


def texts() -> str:
    """Returns all texts of the sources, with a NUL in place of each value."""
    found = []
    for package in ("nima", "provider_image", "requestor"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(p.value if isinstance(p, ast.Constant) else "\0" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


TEXTS = texts()


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_exists(message: str) -> None:
    pattern = r"[^\n]*".join(re.escape(part) for part in message.split("…"))
    assert re.search(pattern, TEXTS), message


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 20
