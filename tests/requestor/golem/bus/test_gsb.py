"""The service-bus client, against real yagna daemons and against peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_daemons import TwoDaemons

from requestor.golem.bus import flexbuffers
from requestor.golem.bus import packets as gsb_protocol
from requestor.golem.bus.calls import ServiceBusError, ServiceBusFault
from requestor.golem.bus.connection import ServiceBus
from requestor.golem.bus.packets import (
    MAX_PACKET,
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
)

# ---- the protocol

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
packets: st.SearchStrategy[Packet] = (
    st.builds(CallRequest, texts, texts, texts, st.binary(max_size=300), st.booleans())
    | st.builds(CallReply, texts, st.sampled_from([0, 400, 500]), st.integers(0, 1), st.binary(max_size=300))
    | st.builds(Hello, texts, texts, st.binary(max_size=16))
    | st.builds(RegisterReply, st.sampled_from([0, 409]), texts)
    | st.builds(Ping)
)


@given(st.lists(packets, max_size=6), st.lists(st.integers(1, 80), min_size=1))
def test_packets_survive_any_cutting_of_the_stream(sent: list[Packet], cuts: list[int]) -> None:
    stream = b"".join(map(gsb_protocol.encode, sent))
    reader, received, position = FrameReader(), [], 0
    for turn in range(len(stream)):
        piece = cuts[turn % len(cuts)]
        for frame in reader.feed(stream[position : position + piece]):
            received.append(gsb_protocol.decode(frame[4:]))
        position += piece
    assert received == sent
    assert [type(packet) for packet in received] == [type(packet) for packet in sent]


@given(st.binary(max_size=100))
def test_noise_is_no_packet_but_never_crashes(noise: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        gsb_protocol.decode(noise)


def test_the_bytes_are_those_of_protobuf() -> None:
    # Packet {call_reply (7): {request_id (1): "ab", code (2): 400, data (4): "xyz"}}
    expected = bytes.fromhex("0000000e 3a0c 0a026162 109003 220378797a")
    assert gsb_protocol.encode(CallReply("ab", Code.BAD_REQUEST, 0, b"xyz")) == expected


def test_unknown_fields_are_skipped() -> None:
    packet = gsb_protocol.encode(Hello("a"))[4:]
    extended = bytes([packet[0], packet[1] + 4]) + packet[2:] + b"\x7a\x02hi"
    assert gsb_protocol.decode(extended) == Hello("a")


def test_an_announced_giant_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="larger"):
        FrameReader().feed((MAX_PACKET + 1).to_bytes(4, "big"))


# ---- real daemons


async def echo(caller: str, address: str, message: object) -> object:
    return [caller, address, message]


def on_both(daemons: TwoDaemons, work: Callable[[ServiceBus, ServiceBus], Awaitable[None]]) -> None:
    """Runs `work` with a connection to each daemon's bus."""

    async def run() -> None:
        async with (
            await ServiceBus.connect(daemons.requestor.gsb_url) as requestor,
            await ServiceBus.connect(daemons.provider.gsb_url) as provider,
        ):
            await work(requestor, provider)

    asyncio.run(run())


def test_a_daemon_says_who_it_is(two_daemons: TwoDaemons) -> None:
    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        identity = await requestor.call("/local/identity/Get", "byDefault")
        assert isinstance(identity, dict)
        assert identity["nodeId"] == two_daemons.requestor.node_id

    on_both(two_daemons, work)


def test_a_call_reaches_a_service_on_another_node(two_daemons: TwoDaemons) -> None:
    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/echo", echo)
        message = {"text": "grüße", "list": [1, None, 2.5], "blob": bytes(range(256))}
        answer = await provider.call(f"/net/{two_daemons.requestor.node_id}/echo/Say", message)
        assert answer == [two_daemons.provider.node_id, "/public/echo/Say", message]

    on_both(two_daemons, work)


def test_the_longest_registered_prefix_serves(two_daemons: TwoDaemons) -> None:
    async def deeper(caller: str, address: str, message: object) -> object:
        return "deeper"

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/tree", echo)
        await requestor.register("/public/tree/branch", deeper)
        assert await requestor.call("/public/tree/branch/Leaf", None) == "deeper"
        assert await requestor.call("/public/tree/branches", None) == ["", "/public/tree/branches", None]

    on_both(two_daemons, work)


def test_a_fault_carries_its_payload_and_a_handlers_failure_its_text(two_daemons: TwoDaemons) -> None:
    async def fail(caller: str, address: str, message: object) -> object:
        if message == "what cannot be sent":
            raise ServiceBusFault(object())
        if message == "fault":
            raise ServiceBusFault({"reason": ["a", 1]})
        raise ValueError("the handler broke")

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/fail", fail)
        with pytest.raises(ServiceBusFault) as fault:
            await provider.call(f"/net/{two_daemons.requestor.node_id}/fail/Now", "fault")
        assert fault.value.payload == {"reason": ["a", 1]}
        with pytest.raises(ServiceBusError, match="the handler broke") as failure:
            await requestor.call("/public/fail/Now", "crash")
        assert failure.value.code == Code.SERVICE_FAILURE
        with pytest.raises(ServiceBusError, match="cannot be sent"):
            await requestor.call("/public/fail/Now", "what cannot be sent")

    on_both(two_daemons, work)


def test_an_answer_in_parts_arrives_in_order(two_daemons: TwoDaemons) -> None:
    async def count(caller: str, address: str, message: object) -> AsyncIterator[object]:
        for number in range(5):
            yield number

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/count", count)
        address = f"/net/{two_daemons.requestor.node_id}/count/Up"
        assert [part async for part in provider.stream(address, None)] == [0, 1, 2, 3, 4]

    on_both(two_daemons, work)


def test_many_calls_run_at_once(two_daemons: TwoDaemons) -> None:
    met = asyncio.Event()
    inside = 0

    async def meet(caller: str, address: str, message: object) -> object:
        nonlocal inside
        inside += 1
        if inside == 20:
            met.set()
        await met.wait()
        return message

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/meet", meet)
        calls = [requestor.call("/public/meet/Up", number) for number in range(20)]
        assert await asyncio.gather(*calls) == list(range(20))

    on_both(two_daemons, work)


@pytest.mark.parametrize("address", ["/nowhere/Call", f"/net/0x{'0' * 40}/gftp/Call"])
def test_a_call_to_nobody_fails_at_once(two_daemons: TwoDaemons, address: str) -> None:
    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        with pytest.raises(ServiceBusError) as failure:
            await requestor.call(address, None)
        assert failure.value.code in (Code.BAD_REQUEST, Code.SERVICE_FAILURE)  # a time-out has no code

    on_both(two_daemons, work)


def test_a_silent_service_is_given_up(two_daemons: TwoDaemons) -> None:
    async def sleep(caller: str, address: str, message: object) -> object:
        await asyncio.sleep(60)
        return None

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await requestor.register("/public/sleep", sleep)
        with pytest.raises(ServiceBusError, match=r"did not answer within 0\.2 s"):
            await requestor.call("/public/sleep/Now", None, timeout=0.2)

    on_both(two_daemons, work)


def test_a_prefix_has_one_owner_until_it_is_given_back(two_daemons: TwoDaemons) -> None:
    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        async with await ServiceBus.connect(two_daemons.requestor.gsb_url) as other:
            await requestor.register("/public/mine", echo)
            with pytest.raises(ServiceBusError, match="another program") as refusal:
                await other.register("/public/mine", echo)
            assert refusal.value.code == Code.CONFLICT
            await requestor.unregister("/public/mine")
            await other.register("/public/mine", echo)
            with pytest.raises(ServiceBusError, match="not served"):
                await requestor.unregister("/public/mine")

    on_both(two_daemons, work)


def test_closing_ends_the_calls_that_wait(two_daemons: TwoDaemons) -> None:
    async def sleep(caller: str, address: str, message: object) -> object:
        await asyncio.sleep(60)
        return None

    async def work(requestor: ServiceBus, provider: ServiceBus) -> None:
        await provider.register("/public/sleep2", sleep)
        waiting = asyncio.create_task(requestor.call(f"/net/{two_daemons.provider.node_id}/sleep2/Now", None))
        await asyncio.sleep(0.1)
        await requestor.close()
        with pytest.raises(ServiceBusError, match="has ended"):
            await waiting
        with pytest.raises(ServiceBusError, match="has ended"):
            await requestor.call("/local/identity/Get", "byDefault")

    on_both(two_daemons, work)


# ---- peers that are no daemon


def with_peer(peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], timeout: float) -> None:
    """Connects to a server that behaves as `peer`, and makes one call."""

    async def run() -> None:
        async with await asyncio.start_server(peer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with await ServiceBus.connect(f"tcp://127.0.0.1:{port}", timeout=timeout) as bus:
                await bus.call("/any/Call", None, timeout=timeout)

    asyncio.run(run())


def test_a_silent_server_is_no_service_bus() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with pytest.raises(ServiceBusError, match="service bus within"):
        with_peer(silent, 0.2)


def test_a_web_server_is_no_service_bus() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    with pytest.raises(ServiceBusError, match="larger than"):
        with_peer(web, 5)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (CallReply("{id}", 0, 0, b"\xff\xff\xff"), "not a FlexBuffer"),
        (CallReply("{id}", 0, 0, flexbuffers.encode([1])), "neither a result nor an error"),
        (CallReply("{id}", 400, 0, b"endpoint address not found"), "endpoint address not found"),
        (CallReply("somebody else's", 0, 0, flexbuffers.encode({"Ok": 1})), "did not answer"),
    ],
)
def test_a_bad_answer_is_an_error(answer: CallReply, problem: str) -> None:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        writer.write(gsb_protocol.encode(Hello("peer")))
        while data := await reader.read(65536):
            for frame in frames.feed(data):
                packet = gsb_protocol.decode(frame[4:])
                if isinstance(packet, CallRequest):
                    reply = answer._replace(request_id=answer.request_id.format(id=packet.request_id))
                    writer.write(gsb_protocol.encode(reply))
        writer.close()

    with pytest.raises(ServiceBusError, match=problem):
        with_peer(answering, 0.5)


def test_a_ping_is_answered() -> None:
    answered = []

    async def pinging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        writer.write(gsb_protocol.encode(Hello("peer")) + gsb_protocol.encode(Ping()))
        while data := await reader.read(65536):
            answered.extend(gsb_protocol.decode(frame[4:]) for frame in frames.feed(data))
            if Pong() in answered:
                break
        writer.close()

    with pytest.raises(ServiceBusError, match="has ended"):
        with_peer(pinging, 5)
    assert any(isinstance(packet, Pong) for packet in answered)


@pytest.mark.parametrize(
    "url", ["tcp://127.0.0.1:1", "unix:/nowhere/yagna.sock", "http://127.0.0.1:7464", "", "tcp://127.0.0.1:port"]
)
def test_a_wrong_url_is_named(url: str) -> None:
    with pytest.raises(ServiceBusError, match="service bus"):
        asyncio.run(ServiceBus.connect(url))
