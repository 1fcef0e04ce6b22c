"""Joins the daemons of a devnet: the hub is a small router of Golem's service bus.

Daemons with `YA_NET_TYPE=central` register `/net/<node id>` here, call each other through it, and broadcast their
offers over its topics. `python -m requestor.devnet.services.hub --port PORT` runs it until SIGTERM. A daemon could be
the hub of the others, but if it is asked for a node that has gone, it repeats the call for 20 s at full CPU load. This
hub answers such a call at once.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import uuid
from pathlib import Path

from requestor.devnet.services.ports import ensure_free
from requestor.devnet.services.process import ChildProcess
from requestor.errors import DevnetError
from requestor.golem.bus import packets

MAX_HUB_PORT = 9999
"""The highest port of a hub: yagna's parser of CENTRAL_NET_HOST takes at most four digits."""

logger = logging.getLogger(__name__)


class Router:
    """Knows which client serves each address, and which clients listen to each topic."""

    def __init__(self) -> None:
        self.hello = packets.Hello("nima-golem-hub", "0.7.0", uuid.uuid4().bytes)
        self.services: dict[str, Client] = {}
        self.topics: dict[str, set[Client]] = {}

    def find(self, address: str) -> Client | None:
        """Returns the client that serves the longest registered prefix of `address`, cut at slashes."""
        while address and address not in self.services:
            address = address.rpartition("/")[0]
        return self.services.get(address)

    async def serve(self, port: int) -> asyncio.Server:
        """Listens on the loopback interface.

        Raises:
            OSError: the port is taken.
        """
        return await asyncio.get_running_loop().create_server(lambda: Client(self), "127.0.0.1", port)


class Client(asyncio.Protocol):
    """Serves one connected daemon."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.name = "?"
        self.answers_due: dict[str, Client] = {}  # request id → the client that waits for this client's reply
        self.waits_for: set[tuple[Client, str]] = set()  # the replies that this client waits for
        self.held_back: set[Client] = set()  # not read until this client has read what is queued for it
        self._frames = packets.FrameReader()
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send(self.router.hello)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self.received(packets.decode(memoryview(frame)[4:]), frame)
        except packets.ProtocolError as error:
            logger.warning("Dropping %s: %s.", self.name, error)
            self.transport.abort()

    def send(self, packet: packets.Packet) -> None:
        """Sends a packet to this client."""
        self.transport.write(packets.encode(packet))

    def forward(self, frame: bytes, sender: Client) -> None:
        """Sends a frame to this client unchanged; stops reading from its sender while this client reads too slowly."""
        self.transport.write(frame)
        if self._full and sender is not self:
            self.held_back.add(sender)
            sender.transport.pause_reading()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        for sender in self.held_back:
            sender.transport.resume_reading()
        self.held_back.clear()

    def connection_lost(self, error: Exception | None) -> None:
        router = self.router
        for service in [service for service, client in router.services.items() if client is self]:
            del router.services[service]
            logger.info("- %s", service)
        for listeners in router.topics.values():
            listeners.discard(self)
        self.resume_writing()
        for request_id, caller in self.answers_due.items():
            caller.waits_for.discard((self, request_id))
            caller.send(_failure(request_id, packets.Code.SERVICE_FAILURE, "lost connection"))
        self.answers_due.clear()
        for callee, request_id in self.waits_for:
            callee.answers_due.pop(request_id, None)
        self.waits_for.clear()

    def received(self, packet: packets.Packet, frame: bytes) -> None:
        """Handles a packet that this client has sent in `frame`. Raises ProtocolError if it is unexpected."""
        if isinstance(packet, packets.CallRequest):
            self.call(packet, frame)
        elif isinstance(packet, packets.CallReply):
            self.reply(packet, frame)
        elif isinstance(packet, packets.BroadcastRequest):
            self.send(packets.BroadcastReply())
            for listener in self.router.topics.get(packet.topic, set()):
                listener.forward(frame, self)
        elif isinstance(packet, packets.RegisterRequest):
            taken = self.router.services.setdefault(packet.service_id, self) is not self
            self.send(packets.RegisterReply(packets.Code.CONFLICT if taken else packets.Code.OK))
            logger.info("%s %s (%s)", "! taken:" if taken else "+", packet.service_id, self.name)
        elif isinstance(packet, packets.UnregisterRequest):
            owned = self.router.services.get(packet.service_id) is self
            if owned:
                del self.router.services[packet.service_id]
            self.send(packets.UnregisterReply(packets.Code.OK if owned else packets.Code.NOT_FOUND))
        elif isinstance(packet, packets.SubscribeRequest):
            self.router.topics.setdefault(packet.topic, set()).add(self)
            self.send(packets.SubscribeReply())
        elif isinstance(packet, packets.UnsubscribeRequest):
            listeners = self.router.topics.get(packet.topic, set())
            self.send(packets.UnsubscribeReply(packets.Code.OK if self in listeners else packets.Code.NOT_FOUND))
            listeners.discard(self)
        elif isinstance(packet, packets.Ping):
            self.send(packets.Pong())
        elif isinstance(packet, packets.Hello):
            self.name = packet.name
        elif not isinstance(packet, packets.Pong):
            raise packets.ProtocolError(f"an unexpected {type(packet).__name__} arrived")

    def call(self, request: packets.CallRequest, frame: bytes) -> None:
        """Passes a call of this client on to the client that serves its address; answers it if there is none."""
        callee = self.router.find(request.address)
        if request.no_reply:
            if callee is not None:
                callee.forward(frame, self)
        elif callee is None:
            self.send(_failure(request.request_id, packets.Code.BAD_REQUEST, "endpoint address not found"))
        elif request.request_id in callee.answers_due:
            self.send(_failure(request.request_id, packets.Code.BAD_REQUEST, "duplicate request id"))
        else:
            callee.answers_due[request.request_id] = self
            self.waits_for.add((callee, request.request_id))
            callee.forward(frame, self)

    def reply(self, reply: packets.CallReply, frame: bytes) -> None:
        """Passes a reply of this client on to the caller."""
        caller = self.answers_due.get(reply.request_id)
        if caller is None:  # the caller has disconnected
            return
        if reply.reply_type == packets.ReplyType.FULL:
            del self.answers_due[reply.request_id]
            caller.waits_for.discard((self, reply.request_id))
        caller.forward(frame, self)


def _failure(request_id: str, code: packets.Code, reason: str) -> packets.CallReply:
    return packets.CallReply(request_id, code, packets.ReplyType.FULL, reason.encode())


class Hub:
    """Runs the hub as a separate process. Raises DevnetError if yagna cannot take the port."""

    def __init__(self, port: int, *, log: Path) -> None:
        if not 1 <= port <= MAX_HUB_PORT:
            raise DevnetError(f"The hub's port is {port}, but yagna takes ports of at most four digits.")
        self.port = port
        self.process = ChildProcess(
            "The hub", [sys.executable, "-m", "requestor.devnet.services.hub", "--port", str(port)], log=log
        )

    async def start(self, *, timeout: float = 10.0) -> None:
        """Starts the hub and waits until it listens.

        Raises:
            DevnetError: the port is taken, or the hub does not listen within `timeout` seconds.
        """

        async def ready() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return self.process.running

        ensure_free(self.port, "The hub")
        await self.process.start(ready, timeout=timeout)

    async def stop(self) -> None:
        """Stops the hub."""
        await self.process.stop()


async def _run(port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await Router().serve(port)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    """Runs `python -m requestor.devnet.services.hub --port PORT`."""
    parser = argparse.ArgumentParser(prog="python -m requestor.devnet.services.hub", description="The hub of a devnet.")
    parser.add_argument("--port", type=int, required=True, help=f"1 to {MAX_HUB_PORT}")
    arguments = parser.parse_args()
    if not 1 <= arguments.port <= MAX_HUB_PORT:
        parser.error(f"yagna takes hub ports of at most four digits, not {arguments.port}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        asyncio.run(_run(arguments.port))
    except OSError as error:
        raise SystemExit(f"The hub cannot listen on port {arguments.port}: {error.strerror or error}.") from error


if __name__ == "__main__":
    main()
