"""Names this user's folders of the program: the cache, whose files can be fetched again, the data, which cannot, and
the settings.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_NAME = "nima-golem"


def cache_folder() -> Path:
    """Returns the cache folder, which need not exist: `$NIMA_GOLEM_CACHE` if it is set, else the platform's folder.

    On Linux, this is `$XDG_CACHE_HOME/nima-golem`, by default `~/.cache/nima-golem`.
    """
    named = os.environ.get("NIMA_GOLEM_CACHE")
    return Path(named) if named else platformdirs.user_cache_path(_NAME, appauthor=False)


def data_folder() -> Path:
    """Returns the platform's folder for data, which need not exist.

    On Linux, this is `$XDG_DATA_HOME/nima-golem`, by default `~/.local/share/nima-golem`.
    """
    return platformdirs.user_data_path(_NAME, appauthor=False)


def config_folder() -> Path:
    """Returns the platform's folder for settings, which need not exist.

    On Linux, this is `$XDG_CONFIG_HOME/nima-golem`, by default `~/.config/nima-golem`.
    """
    return platformdirs.user_config_path(_NAME, appauthor=False)
