"""Reads the environment variables that name the Golem that a command uses."""

from __future__ import annotations

import os
from collections.abc import Mapping

from requestor.devnet import devnet_of_variables, find_devnet, running_devnets
from requestor.errors import DevnetError


def golem_environment() -> dict[str, str]:
    """Returns the environment variables; if no app key is set and a devnet runs, with the devnet's variables added.

    Raises DevnetError if several devnets run and nothing tells which one is meant, or if the variables are those of a
    devnet that is gone.
    """
    environment = dict(os.environ)
    gone = devnet_of_variables(environment) if "YAGNA_APPKEY" in environment else None
    if gone is not None and all(devnet.name != gone for devnet in running_devnets()):
        raise DevnetError(
            f"This shell has the variables of the devnet {gone}, which no longer runs. Take them back with "
            'eval "$(nima-golem devnet env --unset)", or start it again and repeat eval "$(nima-golem devnet env)".'
        )
    if "YAGNA_APPKEY" not in environment and (devnet := find_devnet()) is not None:
        environment |= devnet.environment()
    return environment


def is_devnet(environment: Mapping[str, str]) -> bool:
    """Returns True if the daemon that the variables name is a devnet's, whose providers run on this machine."""
    app_key = environment.get("YAGNA_APPKEY")
    return any(devnet.requestor.app_key == app_key for devnet in running_devnets())
