"""Follows one call over the service bus: its request, the replies, their contents, and its failures."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from typing import TypeAlias

from nima.safe_io import one_line
from requestor.errors import GolemError
from requestor.golem.bus import flexbuffers
from requestor.golem.bus.packets import MAX_PACKET, CallReply, CallRequest, Code


class ServiceBusError(GolemError):
    """Says that a call, or the bus itself, has failed: it was refused, timed out, or was closed.

    Attributes:
        code: the bus's reply code (400: no such address or a bad request; 500: the service failed); None if no reply
            came.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ServiceBusFault(ServiceBusError):
    """Says that the service answered `{"Err": payload}`. A handler raises this error to give such an answer."""

    def __init__(self, payload: object) -> None:
        super().__init__(f"The service answered with an error: {payload!r:.500}")
        self.payload = payload


Replies: TypeAlias = "asyncio.Queue[CallReply | ServiceBusError]"


class Conversation:
    """Holds one request of this program and the replies to it. Until it is closed, `calls` lists it."""

    def __init__(self, calls: dict[str, Replies], address: str, timeout: float) -> None:
        self._calls = calls
        self._address = address
        self._timeout = timeout
        self._id = uuid.uuid4().hex  # unique among all callers of a service
        self._replies = calls[self._id] = asyncio.Queue()

    def request(self, message: object, caller: str) -> CallRequest:
        """Returns the packet to send. Raises ServiceBusError if FlexBuffers cannot hold the message."""
        try:
            data = flexbuffers.encode(message)
        except flexbuffers.FlexBufferError as error:
            raise ServiceBusError(f"{self._address} cannot be called: {error}") from error
        return CallRequest(caller, self._address, self._id, data)

    async def next(self) -> CallReply:
        """Returns the next reply.

        Raises:
            ServiceBusError: no reply came in time, the call failed, or the connection is lost.
        """
        too_late = ServiceBusError(f"{self._address} did not answer within {self._timeout:g} s.")
        timer = asyncio.get_running_loop().call_later(self._timeout, self._replies.put_nowait, too_late)
        try:
            reply = await self._replies.get()
        finally:
            timer.cancel()
        if isinstance(reply, ServiceBusError):
            raise reply
        if reply.code != Code.OK:
            reason = one_line(reply.data[:4000].decode(errors="replace"), 500)
            raise ServiceBusError(f"The call to {self._address} failed: {reason}.", reply.code)
        return reply

    def close(self) -> None:
        """Ends the conversation; later replies are ignored."""
        del self._calls[self._id]


def load(data: bytes, max_bytes: int = MAX_PACKET) -> object:
    """Decodes a payload, which some senders compress with zlib.

    Args:
        data: the payload.
        max_bytes: bytes that it may have after the decompression.

    Raises:
        FlexBufferError: it is too large, or no FlexBuffer.
    """
    if data[:1] == b"\x78":  # zlib's first byte; a FlexBuffer may begin with it too
        try:
            inflater = zlib.decompressobj()
            inflated = inflater.decompress(data, max_bytes)
            if inflater.eof:
                return flexbuffers.decode(inflated)
        except zlib.error:
            pass
    return flexbuffers.decode(data)


def unwrap(address: str, data: bytes) -> object:
    """Returns what a service answered under "Ok".

    Raises:
        ServiceBusFault: the service answered "Err".
        ServiceBusError: the service answered neither.
    """
    try:
        reply = load(data)
    except flexbuffers.FlexBufferError as error:
        raise ServiceBusError(f"{address} gave a bad answer: {error}") from error
    if isinstance(reply, dict) and len(reply) == 1:
        if "Ok" in reply:
            return reply["Ok"]
        if "Err" in reply:
            raise ServiceBusFault(reply["Err"])
    raise ServiceBusError(f"{address} answered with something that is neither a result nor an error.")
