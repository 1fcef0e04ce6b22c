"""Speaks the protocol of yagna's service bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem.bus import packets as packets
    from requestor.golem.bus.calls import ServiceBusError, ServiceBusFault
    from requestor.golem.bus.connection import ServiceBus
    from requestor.golem.bus.packets import (
        BroadcastReply,
        BroadcastRequest,
        CallReply,
        CallRequest,
        Code,
        FrameReader,
        Hello,
        Packet,
        Ping,
        Pong,
        ProtocolError,
        RegisterReply,
        RegisterRequest,
        ReplyType,
        SubscribeReply,
        SubscribeRequest,
        UnregisterReply,
        UnregisterRequest,
        UnsubscribeReply,
        UnsubscribeRequest,
    )
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "calls": ["ServiceBusError", "ServiceBusFault"],
            "connection": ["ServiceBus"],
            "packets": [
                "BroadcastReply",
                "BroadcastRequest",
                "CallReply",
                "CallRequest",
                "Code",
                "FrameReader",
                "Hello",
                "Packet",
                "Ping",
                "Pong",
                "ProtocolError",
                "RegisterReply",
                "RegisterRequest",
                "ReplyType",
                "SubscribeReply",
                "SubscribeRequest",
                "UnregisterReply",
                "UnregisterRequest",
                "UnsubscribeReply",
                "UnsubscribeRequest",
            ],
        },
    )

__all__ = [
    "BroadcastReply",
    "BroadcastRequest",
    "CallReply",
    "CallRequest",
    "Code",
    "FrameReader",
    "Hello",
    "Packet",
    "Ping",
    "Pong",
    "ProtocolError",
    "RegisterReply",
    "RegisterRequest",
    "ReplyType",
    "ServiceBus",
    "ServiceBusError",
    "ServiceBusFault",
    "SubscribeReply",
    "SubscribeRequest",
    "UnregisterReply",
    "UnregisterRequest",
    "UnsubscribeReply",
    "UnsubscribeRequest",
    "packets",
]
