"""Defines the packets of Golem's service bus (GSB): their fields and their bytes.

On the wire a packet is a u32 big-endian length and a protobuf message with one field, the packet itself.
Every packet numbers its fields from 1 without gaps, so the order of the classes' fields is the schema.
Source: `gsb_api.proto` of ya-service-bus.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

MAX_PACKET = 32 * 1024 * 1024
"""Bytes of the largest packet that is sent or accepted; Golem's own messages are far smaller."""


class Code(IntEnum):
    """Lists the codes of a reply; 0 is success in every kind of reply."""

    OK = 0
    BAD_REQUEST = 400
    NOT_FOUND = 404
    CONFLICT = 409
    SERVICE_FAILURE = 500


class ReplyType(IntEnum):
    """Says whether more replies to the same call follow (PARTIAL) or not (FULL)."""

    FULL = 0
    PARTIAL = 1


class Hello(NamedTuple):
    """Introduces its sender to the other side when a connection is made."""

    name: str = ""
    version: str = ""
    instance_id: bytes = b""


class RegisterRequest(NamedTuple):
    """Asks the router to pass calls to `service_id`, a prefix of addresses, to the sender."""

    service_id: str = ""


class RegisterReply(NamedTuple):
    """Answers a RegisterRequest."""

    code: int = Code.OK
    message: str = ""


class UnregisterRequest(NamedTuple):
    """Asks the router to forget a RegisterRequest."""

    service_id: str = ""


class UnregisterReply(NamedTuple):
    """Answers an UnregisterRequest."""

    code: int = Code.OK


class CallRequest(NamedTuple):
    """Calls the service at `address`. `data` is the message; with `no_reply`, no answer is wanted."""

    caller: str = ""
    address: str = ""
    request_id: str = ""
    data: bytes = b""
    no_reply: bool = False


class CallReply(NamedTuple):
    """Answers the CallRequest with the same `request_id`. `data` is the answer, or the reason of a failure as text."""

    request_id: str = ""
    code: int = Code.OK
    reply_type: int = ReplyType.FULL
    data: bytes = b""


class SubscribeRequest(NamedTuple):
    """Asks the router for the broadcasts of a topic."""

    topic: str = ""


class SubscribeReply(NamedTuple):
    """Answers a SubscribeRequest."""

    code: int = Code.OK
    message: str = ""


class UnsubscribeRequest(NamedTuple):
    """Asks the router for no more broadcasts of a topic."""

    topic: str = ""


class UnsubscribeReply(NamedTuple):
    """Answers an UnsubscribeRequest."""

    code: int = Code.OK


class BroadcastRequest(NamedTuple):
    """Sends `data` to all who have subscribed to a topic."""

    caller: str = ""
    data: bytes = b""
    topic: str = ""


class BroadcastReply(NamedTuple):
    """Answers a BroadcastRequest."""

    code: int = Code.OK
    message: str = ""


class Ping(NamedTuple):
    pass


class Pong(NamedTuple):
    pass


Packet: TypeAlias = (
    Hello
    | RegisterRequest
    | RegisterReply
    | UnregisterRequest
    | UnregisterReply
    | CallRequest
    | CallReply
    | SubscribeRequest
    | SubscribeReply
    | UnsubscribeRequest
    | UnsubscribeReply
    | BroadcastRequest
    | BroadcastReply
    | Ping
    | Pong
)

# The field number of each packet within `Packet` is its place here, from 1.
_PACKETS: tuple[type[Packet], ...] = Packet.__args__
_NUMBERS = {packet: number for number, packet in enumerate(_PACKETS, 1)}
_DEFAULTS = {packet: tuple(packet._field_defaults.values()) for packet in _PACKETS}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtocolError(ValueError):
    """Says that bytes are no service-bus packet, or that a packet is too large or unexpected."""


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(frame: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = frame[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ProtocolError("a number is longer than 64 bits")


def encode(packet: Packet) -> bytes:
    """Returns the packet in its encoded form, length prefix included.

    Raises:
        ProtocolError: the packet is larger than `MAX_PACKET`.
    """
    parts: list[bytes] = []
    fields: tuple[int | str | bytes, ...] = packet
    for number, value in enumerate(fields, 1):
        if not value:  # protobuf leaves out values that equal the default
            continue
        if isinstance(value, int):
            parts += (_varint(number << 3 | _VARINT), _varint(int(value)))
        else:
            content = value.encode() if isinstance(value, str) else value
            parts += (_varint(number << 3 | _BYTES), _varint(len(content)), content)
    length = sum(map(len, parts))
    head = _varint(_NUMBERS[type(packet)] << 3 | _BYTES) + _varint(length)
    if length + len(head) > MAX_PACKET:
        raise ProtocolError(f"a packet of {length} bytes is larger than the {MAX_PACKET} that are allowed")
    return b"".join(((length + len(head)).to_bytes(4, "big"), head, *parts))


def decode(frame: bytes | memoryview) -> Packet:
    """Returns the packet in `frame`, a frame without its length prefix. Unknown fields are skipped.

    Raises:
        ProtocolError: the frame holds no packet, a packet of an unknown kind, or fields of a wrong type.
    """
    try:
        return _decode(memoryview(frame))
    except (IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"a packet cannot be read: {error}") from error


def _decode(frame: memoryview) -> Packet:
    head, position = _read_varint(frame, 0)
    length, position = _read_varint(frame, position)
    if head & 7 != _BYTES or not 1 <= head >> 3 <= len(_PACKETS) or position + length != len(frame):
        raise ProtocolError("an unknown kind of packet")
    packet = _PACKETS[(head >> 3) - 1]
    defaults = _DEFAULTS[packet]
    values = list(defaults)
    while position < len(frame):
        tag, position = _read_varint(frame, position)
        number, wire = tag >> 3, tag & 7
        value: int | bytes | str
        if wire == _VARINT:
            value, position = _read_varint(frame, position)
        elif wire == _BYTES:
            length, position = _read_varint(frame, position)
            if position + length > len(frame):
                raise ProtocolError("a packet is cut short")
            value = bytes(frame[position : position + length])
            position += length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
            continue
        else:
            raise ProtocolError(f"wire type {wire} is unknown")
        if not 1 <= number <= len(defaults):
            continue
        default = defaults[number - 1]
        if isinstance(default, int) != (wire == _VARINT):
            raise ProtocolError(f"field {number} of {packet.__name__} has a wrong type")
        if isinstance(default, str):
            value = bytes(value).decode()
        values[number - 1] = bool(value) if isinstance(default, bool) else value
    return packet(*values)


class FrameReader:
    """Cuts a stream of bytes into frames.

    `feed` takes the bytes as they arrive. It returns the complete frames, each with its length prefix so that it can be
    passed on untouched, and keeps the rest for the next call.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the frames that `data` completed.

        Raises:
            ProtocolError: a frame announces more than `MAX_PACKET` bytes.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        with memoryview(buffer) as view:
            while len(view) - start >= 4:
                length = int.from_bytes(view[start : start + 4], "big")
                if length > MAX_PACKET:
                    raise ProtocolError(f"a packet of {length} bytes is larger than the {MAX_PACKET} allowed")
                end = start + 4 + length
                if end > len(view):
                    break
                frames.append(bytes(view[start:end]))
                start = end
        del buffer[:start]
        return frames
