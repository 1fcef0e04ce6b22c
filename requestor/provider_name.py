"""The names of providers. They choose them themselves, so anything can be in them, or nothing."""

from __future__ import annotations

from nima.text import one_line

LENGTH = 48  # characters; Golem's own suggestions have about twenty
ID_LENGTH = 10


def display_name(chosen: object, provider_id: str) -> str:
    """What to call a provider in terminals, files and pages: one short printable line, never empty.

    Args:
        chosen: its own name as it came, None where it has none.
        provider_id: its node id, whose beginning stands in for a name.
    """
    name = "" if chosen is None else one_line(str(chosen))
    name = name or one_line(provider_id)[:ID_LENGTH] or "?"
    return name if len(name) <= LENGTH else f"{name[: LENGTH - 1]}…"
