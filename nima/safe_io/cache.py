"""Names this user's folders of the program: the cache, whose files can be fetched again, and the data, which cannot."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_NAME = "nima-golem"


def cache_folder() -> Path:
    """Returns `$NIMA_GOLEM_CACHE`, or else the platform's folder: `$XDG_CACHE_HOME/nima-golem` on Linux, by default
    `~/.cache/nima-golem`. It need not exist."""
    named = os.environ.get("NIMA_GOLEM_CACHE")
    return Path(named) if named else platformdirs.user_cache_path(_NAME, appauthor=False)


def data_folder() -> Path:
    """Returns the platform's folder for data: `$XDG_DATA_HOME/nima-golem` on Linux, by default
    `~/.local/share/nima-golem`. It need not exist."""
    return platformdirs.user_data_path(_NAME, appauthor=False)
