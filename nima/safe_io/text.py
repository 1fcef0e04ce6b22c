"""Makes text from strangers safe to show: on a terminal, in a file, on a page."""

from __future__ import annotations

MAX_TEXT_LENGTH = 1000
"""The largest number of characters of a stranger's text that is shown to people."""


def printable(text: str, replacement: str = "�") -> str:
    """Replaces each character that a terminal would not show but obey.

    These are control characters, line breaks, changes of the writing direction, and halves of surrogate pairs. Names of
    files need this, because they may hold any character. Blanks stay as they are, so that a name can be copied.

    Example:
        >>> printable("holiday\\x1b[2J.jpg", "?")
        'holiday?[2J.jpg'
    """
    return "".join(character if character.isprintable() else replacement for character in text)


def one_line(text: str, max_length: int = MAX_TEXT_LENGTH) -> str:
    """Returns a stranger's `text` as one printable line of at most `max_length` characters; the rest is cut off.

    Every run of blanks and of characters that cannot be shown becomes one blank.

    Example:
        >>> one_line("two\\nlines", max_length=5)
        'two l'
    """
    return " ".join(printable(text, " ").split())[:max_length].rstrip()
