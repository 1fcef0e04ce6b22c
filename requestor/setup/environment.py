"""Reads the environment variables that name the Golem that a command uses."""

from __future__ import annotations

import os

from requestor.devnet import find_devnet


def golem_environment() -> dict[str, str]:
    """Returns the environment variables; if no app key is set and a devnet runs, with the devnet's variables added.

    Raises DevnetError if several devnets run and nothing tells which one is meant.
    """
    environment = dict(os.environ)
    if "YAGNA_APPKEY" not in environment and (devnet := find_devnet()) is not None:
        environment |= devnet.environment()
    return environment
