"""Speaks the protocol of yagna's service bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem.bus import packets as packets
    from requestor.golem.bus.calls import ServiceBusError, ServiceBusFault
    from requestor.golem.bus.connection import ServiceBus
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "calls": ["ServiceBusError", "ServiceBusFault"],
            "connection": ["ServiceBus"],
            "packets": [],
        },
    )

__all__ = ["ServiceBus", "ServiceBusError", "ServiceBusFault", "packets"]
