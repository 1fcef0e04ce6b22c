"""Makes the names of providers printable. Providers choose them, so a name can hold any text, or none."""

from __future__ import annotations

from nima.safe_io import one_line

LENGTH = 48  # characters; the names that Golem suggests have about twenty
SHOWN_ID_LENGTH = 10


def display_name(chosen: object, provider_id: str) -> str:
    """Returns the name of a provider for terminals, files and pages: one short printable line, never empty.

    Args:
        chosen: the provider's own name as it was received, None if it has none.
        provider_id: its node id; the first digits replace a missing name.
    """
    name = "" if chosen is None else one_line(str(chosen))
    name = name or one_line(provider_id)[:SHOWN_ID_LENGTH] or "?"
    return name if len(name) <= LENGTH else f"{name[: LENGTH - 1]}…"
