"""Runs a whole Golem network on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.network import NetworkOptions
    from requestor.devnet.settlement import ProviderAccount, provider_accounts, requestor_wallet, settle
    from requestor.devnet.state import (
        DEFAULT_NAME,
        NAME_VARIABLE,
        Devnet,
        devnet_folder,
        find_devnet,
        running_devnets,
        state_file,
    )
    from requestor.devnet.supervision import clear, start_detached, stop, supervise
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "network": ["NetworkOptions"],
            "settlement": ["ProviderAccount", "provider_accounts", "requestor_wallet", "settle"],
            "state": [
                "DEFAULT_NAME",
                "Devnet",
                "NAME_VARIABLE",
                "devnet_folder",
                "find_devnet",
                "running_devnets",
                "state_file",
            ],
            "supervision": ["clear", "start_detached", "stop", "supervise"],
        },
    )

__all__ = [
    "DEFAULT_NAME",
    "NAME_VARIABLE",
    "Devnet",
    "NetworkOptions",
    "ProviderAccount",
    "clear",
    "devnet_folder",
    "find_devnet",
    "provider_accounts",
    "requestor_wallet",
    "running_devnets",
    "settle",
    "start_detached",
    "state_file",
    "stop",
    "supervise",
]
