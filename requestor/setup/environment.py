"""Reads the environment variables that say which Golem a command uses."""

from __future__ import annotations

import os

from requestor.devnet import find_devnet


def golem_environment() -> dict[str, str]:
    """Reads the variables that say which Golem to use: the shell's own, or a running devnet's where it has none.

    Raises DevnetError if several devnets run and nothing says which one is meant.
    """
    environment = dict(os.environ)
    if "YAGNA_APPKEY" not in environment and (devnet := find_devnet()) is not None:
        environment |= devnet.environment()
    return environment
