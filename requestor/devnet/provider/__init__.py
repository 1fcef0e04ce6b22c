"""Is a provider of the devnet: offers, negotiates, works and sends bills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.provider.agent import AgentSettings
    from requestor.devnet.provider.names import provider_name, provider_prices
    from requestor.devnet.provider.pricing import plain_decimal
    from requestor.devnet.provider.rest import ProviderRest
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "agent": ["AgentSettings"],
            "names": ["provider_name", "provider_prices"],
            "pricing": ["plain_decimal"],
            "rest": ["ProviderRest"],
        },
    )

__all__ = ["AgentSettings", "ProviderRest", "plain_decimal", "provider_name", "provider_prices"]
