"""Runs a whole Golem network on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.network import NetworkOptions
    from requestor.devnet.settlement import ProviderAccount, provider_accounts, requestor_wallet, settle_bills
    from requestor.devnet.state import (
        DEFAULT_DEVNET,
        DEVNET_NETWORK,
        DEVNET_VARIABLE,
        DEVNET_VARIABLES,
        Devnet,
        devnet_folder,
        devnet_of_variables,
        devnet_state_file,
        devnets_folder,
        find_devnet,
        running_devnets,
    )
    from requestor.devnet.supervision import clear_devnet, start_devnet, stop_devnet, supervise_devnet
    from requestor.devnet.throw_away import throw_away_devnet
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "network": ["NetworkOptions"],
            "settlement": ["ProviderAccount", "provider_accounts", "requestor_wallet", "settle_bills"],
            "state": [
                "DEFAULT_DEVNET",
                "DEVNET_NETWORK",
                "Devnet",
                "DEVNET_VARIABLE",
                "DEVNET_VARIABLES",
                "devnet_folder",
                "devnet_of_variables",
                "devnets_folder",
                "find_devnet",
                "running_devnets",
                "devnet_state_file",
            ],
            "supervision": ["clear_devnet", "start_devnet", "stop_devnet", "supervise_devnet"],
            "throw_away": ["throw_away_devnet"],
        },
    )

__all__ = [
    "DEFAULT_DEVNET",
    "DEVNET_NETWORK",
    "DEVNET_VARIABLE",
    "DEVNET_VARIABLES",
    "Devnet",
    "NetworkOptions",
    "ProviderAccount",
    "clear_devnet",
    "devnet_folder",
    "devnet_of_variables",
    "devnet_state_file",
    "devnets_folder",
    "find_devnet",
    "provider_accounts",
    "requestor_wallet",
    "running_devnets",
    "settle_bills",
    "start_devnet",
    "stop_devnet",
    "supervise_devnet",
    "throw_away_devnet",
]
