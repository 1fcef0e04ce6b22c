"""The hub as a real process on a real port, tested over raw connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from requestor.devnet.services.hub import MAX_HUB_PORT, Hub
from requestor.devnet.services.ports import Ports
from requestor.errors import DevnetError
from requestor.golem.bus import packets as gsb_protocol
from requestor.golem.bus.calls import ServiceBusError
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


class Node:
    """A daemon's connection to the hub, packet by packet."""

    @classmethod
    async def join(cls, hub: Hub, name: str) -> Node:
        node = cls()
        node.reader, node.writer = await asyncio.open_connection("127.0.0.1", hub.port)
        node.frames, node.waiting = FrameReader(), []
        node.send(Hello(name))
        assert isinstance(await node.next(), Hello)
        return node

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: FrameReader
    waiting: list[Packet]

    def send(self, packet: Packet) -> None:
        self.writer.write(gsb_protocol.encode(packet))

    async def next(self) -> Packet:
        """Returns the next packet from the hub."""
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(65536), 10)
            assert data, "the hub closed the connection"
            self.waiting = [gsb_protocol.decode(frame[4:]) for frame in self.frames.feed(data)]
        return self.waiting.pop(0)

    async def ask(self, packet: Packet) -> Packet:
        self.send(packet)
        return await self.next()

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
def with_hub(tmp_path: Path) -> Callable[[Callable[[Hub], Awaitable[None]]], None]:
    def run(work: Callable[[Hub], Awaitable[None]]) -> None:
        async def main() -> None:
            with Ports() as ports:
                hub = Hub(ports.take(), log=tmp_path / "hub.log")
                await hub.start()
                try:
                    await work(hub)
                finally:
                    await hub.stop()

        asyncio.run(main())

    return run


WithHub = Callable[[Callable[[Hub], Awaitable[None]]], None]


def test_a_call_goes_to_the_longest_prefix_and_its_reply_comes_back(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        short, long, caller = [await Node.join(hub, name) for name in ("short", "long", "caller")]
        assert await short.ask(RegisterRequest("/net/0xa")) == RegisterReply()
        assert await long.ask(RegisterRequest("/net/0xa/gftp")) == RegisterReply()
        for callee, address in ((long, "/net/0xa/gftp/f/GetChunk"), (short, "/net/0xa/gftpx"), (short, "/net/0xa")):
            request = CallRequest("me", address, address, b"question")
            caller.send(request)
            assert await callee.next() == request
            for reply in (
                CallReply(address, Code.OK, ReplyType.PARTIAL, b"first"),
                CallReply(address, Code.OK, ReplyType.FULL, b"last"),
            ):
                callee.send(reply)
                assert await caller.next() == reply

    with_hub(work)


def test_an_unknown_node_is_refused_at_once(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        caller = await Node.join(hub, "caller")
        answer = await caller.ask(CallRequest("me", "/net/0xb/x", "1"))
        assert answer == CallReply("1", Code.BAD_REQUEST, ReplyType.FULL, b"endpoint address not found")

    with_hub(work)


def test_a_prefix_has_one_owner_until_it_leaves(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        first, second = await Node.join(hub, "first"), await Node.join(hub, "second")
        assert await first.ask(RegisterRequest("/net/0xa")) == RegisterReply()
        assert await second.ask(RegisterRequest("/net/0xa")) == RegisterReply(Code.CONFLICT)
        assert await second.ask(UnregisterRequest("/net/0xa")) == UnregisterReply(Code.NOT_FOUND)
        await first.leave()
        while await second.ask(RegisterRequest("/net/0xa")) != RegisterReply():
            await asyncio.sleep(0.01)  # the hub has not noticed yet
        assert await second.ask(UnregisterRequest("/net/0xa")) == UnregisterReply()

    with_hub(work)


def test_who_leaves_fails_the_calls_that_wait_for_it(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        callee, caller = await Node.join(hub, "callee"), await Node.join(hub, "caller")
        await callee.ask(RegisterRequest("/net/0xa"))
        caller.send(CallRequest("me", "/net/0xa/x", "1"))
        await callee.next()
        await callee.leave()
        assert await caller.next() == CallReply("1", Code.SERVICE_FAILURE, ReplyType.FULL, b"lost connection")

    with_hub(work)


def test_a_reply_to_who_has_left_harms_nobody(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        callee, caller = await Node.join(hub, "callee"), await Node.join(hub, "caller")
        await callee.ask(RegisterRequest("/net/0xa"))
        caller.send(CallRequest("me", "/net/0xa/x", "1"))
        await callee.next()
        await caller.leave()
        await asyncio.sleep(0.1)
        callee.send(CallReply("1"))
        assert await callee.ask(Ping()) == Pong()

    with_hub(work)


def test_the_same_request_twice_is_refused_and_a_push_expects_no_reply(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        callee, caller = await Node.join(hub, "callee"), await Node.join(hub, "caller")
        await callee.ask(RegisterRequest("/net/0xa"))
        push = CallRequest("me", "/net/0xa/x", "1", no_reply=True)
        request = CallRequest("me", "/net/0xa/x", "1")
        caller.send(push)
        caller.send(request)
        assert [await callee.next(), await callee.next()] == [push, request]
        again = await caller.ask(request)
        assert again == CallReply("1", Code.BAD_REQUEST, ReplyType.FULL, b"duplicate request id")

    with_hub(work)


def test_a_broadcast_reaches_the_subscribers_of_its_topic(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        first, second, other, sender = [await Node.join(hub, name) for name in "abcd"]
        for node, topic in ((first, "offers"), (second, "offers"), (other, "weather")):
            assert await node.ask(SubscribeRequest(topic)) == SubscribeReply()
        news = BroadcastRequest("me", b"new offer", "offers")
        assert await sender.ask(news) == BroadcastReply()
        assert [await first.next(), await second.next()] == [news, news]
        assert await first.ask(UnsubscribeRequest("offers")) == UnsubscribeReply()
        assert await first.ask(UnsubscribeRequest("offers")) == UnsubscribeReply(Code.NOT_FOUND)
        await second.leave()
        assert await sender.ask(news) == BroadcastReply()
        for node in (first, other):
            assert await node.ask(Ping()) == Pong()  # and nothing before it

    with_hub(work)


def test_who_breaks_the_protocol_is_dropped_alone(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        bad, good = await Node.join(hub, "bad"), await Node.join(hub, "good")
        bad.writer.write(b"\xff" * 100)
        with pytest.raises((AssertionError, ConnectionResetError)):
            await bad.next()
        assert await good.ask(Ping()) == Pong()

    with_hub(work)


def test_a_reader_that_stalls_holds_back_its_sender_and_loses_nothing(with_hub: WithHub) -> None:
    async def work(hub: Hub) -> None:
        slow, sender = await Node.join(hub, "slow"), await Node.join(hub, "sender")
        await slow.ask(RegisterRequest("/net/0xa"))
        sent = [CallRequest("me", "/net/0xa/x", str(n), b"\0" * 2**20, no_reply=True) for n in range(64)]
        for request in sent:
            sender.send(request)
        draining = asyncio.create_task(sender.writer.drain())
        await asyncio.sleep(0.2)
        assert not draining.done()  # the hub has stopped reading, so its memory stays small
        assert [(await slow.next()).request_id for _ in sent] == [str(n) for n in range(64)]  # type: ignore[union-attr]
        await asyncio.wait_for(draining, 10)

    with_hub(work)


def test_the_service_bus_client_speaks_with_it_too(with_hub: WithHub) -> None:
    async def double(caller: str, address: str, message: object) -> object:
        return [message, message]

    async def work(hub: Hub) -> None:
        url = f"tcp://127.0.0.1:{hub.port}"
        async with await ServiceBus.connect(url) as serving, await ServiceBus.connect(url) as calling:
            await serving.register("/net/0xa", double)
            assert await calling.call("/net/0xa/Double", "x") == ["x", "x"]
            await hub.stop()
            with pytest.raises(ServiceBusError, match="has ended"):
                await calling.call("/net/0xa/Double", "x")

    with_hub(work)


def test_a_port_that_yagna_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DevnetError, match="four digits"):
        Hub(MAX_HUB_PORT + 1, log=tmp_path / "hub.log")


def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    async def work() -> None:
        with Ports() as ports:
            first, second = (Hub(port, log=tmp_path / "hub.log") for port in [ports.take()] * 2)
            await first.start()
            try:
                await second.start()
            finally:
                await first.stop()

    with pytest.raises(DevnetError, match="already in use"):
        asyncio.run(work())


def test_the_command_line_asks_for_a_port() -> None:
    async def work() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "requestor.devnet.services.hub", "--port", "10000", stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await process.communicate()
        return process.returncode, stderr

    code, stderr = asyncio.run(work())
    assert code == 2
    assert b"four digits" in stderr
