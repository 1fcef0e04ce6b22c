"""Is a service bus that answers what the file server asks for, floods it with calls, and reads none of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from requestor.golem.bus import flexbuffers, packets
from requestor.golem.bus.packets import CallReply, CallRequest, FrameReader, Hello, Packet, RegisterReply

NODE_ID = "0x" + "1" * 40


class DeafRouter:
    """Accepts one program, and lets it register services."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = FrameReader()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        self._send(Hello("router"))
        while data := await self._reader.read(1 << 16):
            for frame in self._frames.feed(data):
                packet = packets.decode(frame[4:])
                if isinstance(packet, CallRequest):
                    identity = flexbuffers.encode({"Ok": {"nodeId": NODE_ID}})
                    self._send(CallReply(packet.request_id, data=identity))
                elif not isinstance(packet, Hello):
                    self._send(RegisterReply())

    def _send(self, packet: Packet) -> None:
        self._writer.write(packets.encode(packet))

    async def flood(self, calls: Sequence[CallRequest]) -> None:
        """Stops reading, and sends all calls."""
        self._listening.cancel()
        self._reader._transport.pause_reading()  # type: ignore[attr-defined]
        for call in calls:
            self._send(call)
            await self._writer.drain()

    async def read_all(self, seconds: float) -> list[CallReply]:
        """Returns the answers that come until nothing has come for `seconds`."""
        self._reader._transport.resume_reading()  # type: ignore[attr-defined]
        answers = []
        while True:
            try:
                data = await asyncio.wait_for(self._reader.read(1 << 16), seconds)
            except asyncio.TimeoutError:
                return answers
            answers += [packets.decode(frame[4:]) for frame in self._frames.feed(data)]


@asynccontextmanager
async def deaf_router() -> AsyncIterator[tuple[str, asyncio.Future[DeafRouter]]]:
    """Yields the URL of a router, and the future of the router of the program that connects to it."""
    connected: asyncio.Future[DeafRouter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda r, w: connected.set_result(DeafRouter(r, w)), "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    finally:
        server.close()
