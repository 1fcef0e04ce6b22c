"""Opens the cache of scores in the user's cache folder."""

from __future__ import annotations

from collections.abc import Callable

from nima.safe_io import cache_folder, printable
from nima.scoring import CacheError, DispensableCache, ScoreCache


def default_cache(note: Callable[[str], None]) -> ScoreCache | None:
    """Opens the cache of scores in the user's cache folder; if it cannot be used, nothing is kept.

    Args:
        note: is called with a sentence if scores are not kept, now or later.
    """
    path = cache_folder() / "scores.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return DispensableCache(path, lambda error: note(f"Scores are not kept: {printable(str(error))}"))
    except (OSError, CacheError) as error:
        note(f"Scores are not kept: {printable(str(error))}")
        return None
