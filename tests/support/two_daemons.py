"""Describes two real yagna daemons that reach each other through a hub."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from requestor.devnet.services.daemons import Daemon, DaemonSettings
from requestor.devnet.services.hub import Hub
from requestor.devnet.services.ports import Ports


@dataclass(frozen=True)
class TwoDaemons:
    """Holds two real yagna daemons that reach each other through a hub."""

    requestor: Daemon
    provider: Daemon
    hub: Hub


def daemon_settings(folder: Path, ports: Ports, hub_port: int, **changes: str) -> DaemonSettings:
    """Returns settings with new ports and keys; `changes` replace some of them."""
    settings = {"app_key": secrets.token_hex(16), "identity_secret": secrets.token_hex(32)}
    return DaemonSettings(
        folder=folder,
        log=folder.with_suffix(".log"),
        api_port=ports.take(),
        gsb_port=ports.take(),
        hub_port=hub_port,
        **(settings | changes),
    )
