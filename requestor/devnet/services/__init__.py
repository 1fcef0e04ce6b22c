"""Runs the devnet's processes: chain, hub, daemons, image host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.services.chain import Chain, ChainUnavailable
    from requestor.devnet.services.daemons import Daemon, DaemonSettings, find_yagna
    from requestor.devnet.services.ethereum import Erc20Token, EthereumNode
    from requestor.devnet.services.hub import Hub
    from requestor.devnet.services.image_host import ImageHost
    from requestor.devnet.services.ports import Ports
    from requestor.devnet.services.process import ChildProcess
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "chain": ["Chain", "ChainUnavailable"],
            "daemons": ["Daemon", "DaemonSettings", "find_yagna"],
            "ethereum": ["EthereumNode", "Erc20Token"],
            "hub": ["Hub"],
            "image_host": ["ImageHost"],
            "ports": ["Ports"],
            "process": ["ChildProcess"],
        },
    )

__all__ = [
    "Chain",
    "ChainUnavailable",
    "ChildProcess",
    "Daemon",
    "DaemonSettings",
    "Erc20Token",
    "EthereumNode",
    "Hub",
    "ImageHost",
    "Ports",
    "find_yagna",
]
