"""Connects to Golem's service bus (GSB), the message router inside a yagna daemon.

Addresses are paths: `/local/…` are the daemon's own services, `/public/…` what this node offers to others,
and `/net/<node id>/…` the `/public/…` of another node. The last segment of an address is the message's name.
Payloads are FlexBuffers; replies hold `{"Ok": …}` or `{"Err": …}`. Source: ya-service-bus.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from requestor.golem.bus import flexbuffers
from requestor.golem.bus import packets as gsb_protocol
from requestor.golem.bus.calls import Conversation, Replies, ServiceBusError, ServiceBusFault, load, unwrap
from requestor.golem.bus.packets import (
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
    UnregisterReply,
    UnregisterRequest,
)

Handler: TypeAlias = Callable[[str, str, object], Awaitable[object] | AsyncIterator[object]]
"""`handler(caller, address, message)`: a coroutine that returns the reply, or an async generator of its parts.

A large reply should be a function that returns the reply. It is called when the connection takes another message, so
that replies which wait for a slow reader take no memory. A handler should keep nothing of a large message while it
waits.
"""

MAX_CALLS = 1024
"""Number of calls that are served at a time; more are refused, so that many requests cannot use up the memory."""
MAX_CALLS_OF_A_CALLER = 64
"""Number of calls of one caller that are served at a time; Golem's own programs make at most 12."""
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes of the largest message that a call may bring, decompressed; Golem's own messages are far smaller."""

_Reply = TypeVar("_Reply")

logger = logging.getLogger(__name__)


class ServiceBus(asyncio.Protocol):
    """Calls and offers services over one connection to a daemon's bus.

    Use it as `async with await ServiceBus.connect(url) as bus`. Calls and handlers run concurrently on the connection.
    It does not reconnect: after it is lost, every call fails with `ServiceBusError`, and `wait_closed` returns.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self._hello = Hello(name, "0.7.0", uuid.uuid4().bytes)
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._handlers: dict[str, Handler] = {}
        self._turn = asyncio.Lock()  # without it, all that wait would write at once when the buffer is empty
        self._running: set[asyncio.Task[None]] = set()
        self._running_of: Counter[str] = Counter()  # caller → number of its calls
        self._calls: dict[str, Replies] = {}
        # The router answers these requests in order, and its answers do not name the request.
        self._registering: deque[asyncio.Future[RegisterReply]] = deque()
        self._unregistering: deque[asyncio.Future[UnregisterReply]] = deque()

    @classmethod
    async def connect(cls, url: str, *, name: str = "nima-golem", timeout: float = 10.0) -> ServiceBus:
        """Connects to `tcp://host:port` or `unix:/path` (yagna's GSB_URL) and waits for the bus's greeting.

        Raises:
            ServiceBusError: the URL is malformed, nothing listens there, or no service bus answers within `timeout`
                seconds.
        """
        loop = asyncio.get_running_loop()
        bus = cls(url, name)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 7464
        except ValueError as error:
            raise ServiceBusError(f"{url!r} is no address of a service bus: {error}.") from error
        connecting: Coroutine[None, None, object]
        if parts.scheme == "tcp" and host:
            connecting = loop.create_connection(lambda: bus, host, port)
        elif parts.scheme == "unix" and parts.path:
            connecting = loop.create_unix_connection(lambda: bus, parts.path)
        else:
            raise ServiceBusError(f"{url!r} is no address of a service bus; use tcp://HOST:PORT or unix:PATH.")
        try:
            await asyncio.wait_for(connecting, timeout)
            await asyncio.wait_for(bus._greeted, timeout)
        except asyncio.TimeoutError as error:
            await bus.close()
            raise ServiceBusError(f"Nothing at {url} spoke as a service bus within {timeout:g} s.") from error
        except OSError as error:
            raise ServiceBusError(
                f"The service bus at {url} cannot be reached ({error}); is yagna running with this GSB_URL?"
            ) from error
        return bus

    async def __aenter__(self) -> ServiceBus:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Returns whether the connection has ended."""
        return self._closed.done()

    async def wait_closed(self) -> str:
        """Waits until the connection has ended, and returns why."""
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Ends the connection and all running handlers; the router forgets which services were registered."""
        if self._transport is not None:
            self._transport.close()
        self._end("it was closed here")
        running = [task for task in self._running if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # ---- offering services

    async def register(self, prefix: str, handler: Handler, *, timeout: float = 10.0) -> None:
        """Serves every call to `prefix` and below it with `handler`; the longest registered prefix wins.

        Raises:
            ServiceBusError: the prefix is taken, or no answer came within `timeout` seconds.
        """
        if prefix in self._handlers:
            raise ServiceBusError(f"{prefix} is already served by this program.", Code.CONFLICT)
        self._handlers[prefix] = handler
        try:
            reply = await self._ask(RegisterRequest(prefix), self._registering, timeout)
            if reply.code != Code.OK:
                taken = "another program serves it" if reply.code == Code.CONFLICT else reply.message
                raise ServiceBusError(f"{prefix} cannot be served on {self.url}: {taken}.", reply.code)
        except BaseException:
            del self._handlers[prefix]
            raise

    def serves(self, prefix: str) -> bool:
        """Returns whether `prefix` is registered on this connection."""
        return prefix in self._handlers

    async def unregister(self, prefix: str, *, timeout: float = 10.0) -> None:
        """Stops serving `prefix`.

        Raises:
            ServiceBusError: the prefix was not served, or no answer came within `timeout` seconds.
        """
        self._handlers.pop(prefix, None)
        reply = await self._ask(UnregisterRequest(prefix), self._unregistering, timeout)
        if reply.code != Code.OK:
            raise ServiceBusError(f"{prefix} is not served by this program.", reply.code)

    # ---- calling services

    async def call(self, address: str, message: object, *, timeout: float = 30.0, caller: str = "") -> object:
        """Sends `message` to `address` and returns what the service answered under "Ok".

        Raises:
            ServiceBusFault: the service answered "Err".
            ServiceBusError: there is no such address, the service failed, no answer came within `timeout` seconds, the
                connection is lost, or the answer is malformed.
        """
        conversation = Conversation(self._calls, address, timeout)
        try:
            await self._send(lambda: conversation.request(message, caller))
            reply = await conversation.next()
        finally:
            conversation.close()
        if not reply.data:
            # A daemon that cannot forward a call to another node sends an empty answer.
            reason = "its node or service is not there, or it failed"
            raise ServiceBusError(f"{address} gave no answer: {reason}.", Code.SERVICE_FAILURE)
        return unwrap(address, reply.data)

    async def stream(
        self, address: str, message: object, *, timeout: float = 30.0, caller: str = ""
    ) -> AsyncIterator[object]:
        """Does the same as `call` for services that answer in parts, and yields the parts.

        `timeout` limits the wait for each part.
        """
        conversation = Conversation(self._calls, address, timeout)
        try:
            await self._send(lambda: conversation.request(message, caller))
            more = True
            while more:
                reply = await conversation.next()
                more = reply.reply_type == ReplyType.PARTIAL
                if more or reply.data:
                    yield unwrap(address, reply.data)
        finally:
            conversation.close()

    # ---- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(gsb_protocol.encode(self._hello))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._received(gsb_protocol.decode(memoryview(frame)[4:]))
        except ProtocolError as error:
            self._end(f"it broke the protocol, {error}")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(str(error) if error else "the other side closed it")

    def _received(self, packet: Packet) -> None:
        if isinstance(packet, CallRequest):
            self._serve(packet)
        elif isinstance(packet, CallReply):
            if packet.request_id in self._calls:  # otherwise the caller has stopped waiting
                self._calls[packet.request_id].put_nowait(packet)
        elif isinstance(packet, RegisterReply) and self._registering:
            _settle(self._registering.popleft(), packet)
        elif isinstance(packet, UnregisterReply) and self._unregistering:
            _settle(self._unregistering.popleft(), packet)
        elif isinstance(packet, Ping):
            self._write(Pong())
        elif isinstance(packet, Hello):
            _settle(self._greeted, None)
        elif not isinstance(packet, Pong):
            raise ProtocolError(f"an unexpected {type(packet).__name__} arrived")

    def _end(self, reason: str) -> None:
        if self._closed.done():
            return
        self._closed.set_result(reason)
        self._writable.set()
        if self._transport is not None:
            self._transport.close()
        for replies in self._calls.values():
            replies.put_nowait(self._lost())
        waiters: list[asyncio.Future[Any]] = [self._greeted, *self._registering, *self._unregistering]
        for waiting in waiters:
            if not waiting.done():
                waiting.set_exception(self._lost())
                waiting.exception()  # marks it as seen, because possibly nobody waits any more

    def _lost(self) -> ServiceBusError:
        reason = self._closed.result() if self._closed.done() else "it was never made"
        return ServiceBusError(f"The connection to the Golem service bus at {self.url} has ended: {reason}.")

    def _write(self, packet: Packet) -> None:
        try:
            frame = gsb_protocol.encode(packet)
        except ProtocolError as error:
            raise ServiceBusError(f"The message cannot be sent: {error}.") from error
        if self._closed.done() or self._transport is None:
            raise self._lost()
        self._transport.write(frame)

    async def _send(self, packet: Callable[[], Packet]) -> None:
        """Makes a packet and writes it as soon as the connection takes one more."""
        async with self._turn:
            await self._writable.wait()
            self._write(packet())

    async def _ask(self, request: Packet, queue: deque[asyncio.Future[_Reply]], timeout: float) -> _Reply:
        await self._writable.wait()
        answer: asyncio.Future[_Reply] = asyncio.get_running_loop().create_future()
        self._write(request)
        queue.append(answer)
        try:
            # Shielded, because an answer that comes too late must still take its place in the queue.
            return await asyncio.wait_for(asyncio.shield(answer), timeout)
        except asyncio.TimeoutError as error:
            raise ServiceBusError(f"The bus at {self.url} did not answer within {timeout:g} s.") from error

    # ---- serving a call

    def _serve(self, request: CallRequest) -> None:
        caller = request.caller
        problem = None
        if len(self._running) >= MAX_CALLS or self._running_of[caller] >= MAX_CALLS_OF_A_CALLER:
            problem = "too many calls at once"
        elif len(request.data) > MAX_MESSAGE:
            problem = f"the message has more than {MAX_MESSAGE} bytes"
        if problem is not None:
            if self._writable.is_set():  # otherwise nobody reads, and refusals would fill the memory
                self._write(_failure(request, problem))
            return
        self._running_of[caller] += 1
        task = asyncio.get_running_loop().create_task(self._run_handler(request))
        self._running.add(task)
        task.add_done_callback(lambda done: self._served(done, caller))

    def _served(self, task: asyncio.Task[None], caller: str) -> None:
        self._running.discard(task)
        self._running_of[caller] -= 1
        if not self._running_of[caller]:
            del self._running_of[caller]

    async def _run_handler(self, request: CallRequest) -> None:
        data, request = request.data, request._replace(data=b"")  # the message is not kept while its answer waits
        try:
            handler = self._handler(request.address)
            if handler is None:
                raise LookupError("endpoint address not found")
            try:
                answer = handler(request.caller, request.address, load(data, MAX_MESSAGE))
                del data
                await self._answer(request, answer)
            except ServiceBusFault as fault:
                payload = fault.payload
                await self._reply(request, lambda: {"Err": payload})
        except Exception as error:  # the failure of a handler becomes the answer to its caller, and nothing else
            logger.debug("The call to %s failed.", request.address, exc_info=True)
            failure = _failure(request, f"{error}")
            if not self.closed and not request.no_reply:
                await self._send(lambda: failure)

    async def _answer(self, request: CallRequest, answer: Awaitable[object] | AsyncIterator[object]) -> None:
        if isinstance(answer, AsyncIterator):
            async for part in answer:
                await self._reply(request, lambda part=part: {"Ok": part}, ReplyType.PARTIAL)  # type: ignore[misc]
            await self._reply(request, lambda: None)
        else:
            result = await answer
            await self._reply(request, lambda: {"Ok": result() if callable(result) else result})

    def _handler(self, address: str) -> Handler | None:
        prefix = address
        while prefix and prefix not in self._handlers:
            prefix = prefix.rpartition("/")[0]
        return self._handlers.get(prefix)

    async def _reply(self, request: CallRequest, value: Callable[[], object], kind: ReplyType = ReplyType.FULL) -> None:
        def packet() -> CallReply:
            content = value()
            return CallReply(request.request_id, Code.OK, kind, b"" if content is None else flexbuffers.encode(content))

        if not request.no_reply:
            await self._send(packet)


def _failure(request: CallRequest, reason: str) -> CallReply:
    data = reason.encode(errors="replace")[:1000]
    return CallReply(request.request_id, Code.SERVICE_FAILURE, ReplyType.FULL, data)


def _settle(waiting: asyncio.Future[_Reply], reply: _Reply) -> None:
    if not waiting.done():
        waiting.set_result(reply)
