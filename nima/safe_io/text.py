"""Text that comes from elsewhere, made safe to show: on a terminal, in a file, on a page."""

from __future__ import annotations

MAX_TEXT_LENGTH = 1000
"""Characters of any text for people that comes from a stranger."""


def printable(text: str, replacement: str = "�") -> str:
    """Returns `text` with `replacement` in the place of each character that is not shown but acted upon: control
    characters, line breaks, changes of the writing direction, halves of surrogate pairs.

    Names of files need this, because they may hold anything. Blanks stay as they are, so that a name can be copied.
    """
    return "".join(character if character.isprintable() else replacement for character in text)


def one_line(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """Returns a stranger's `text` as one printable line of at most `max_length` characters, the rest cut off.

    What cannot be shown and blanks in a row become one blank each.
    """
    return " ".join(printable(text, " ").split())[:max_length].rstrip()
