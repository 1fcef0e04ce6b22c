"""Is a provider of the devnet: offers, negotiates, works and sends bills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.provider.agent import AgentSettings
    from requestor.devnet.provider.names import provider_name, provider_prices
    from requestor.devnet.provider.pricing import plain
    from requestor.devnet.provider.rest import Rest
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "agent": ["AgentSettings"],
            "names": ["provider_name", "provider_prices"],
            "pricing": ["plain"],
            "rest": ["Rest"],
        },
    )

__all__ = ["AgentSettings", "Rest", "plain", "provider_name", "provider_prices"]
