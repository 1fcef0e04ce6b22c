"""Reads and writes FlexBuffers, the schema-less binary format of Golem's service bus payloads.

Source: https://flatbuffers.dev/internals/#flexbuffers. Reads every type; writes null, bool, integers, float, str,
bytes, lists and string-keyed dicts. The writer stores every value 8 bytes wide: any reader accepts this, and it needs
one pass. Blobs are copied whole, so a 40 KiB file chunk costs microseconds.

Buffers come from strangers. Their values may point at one another, so that a few hundred bytes can stand for terabytes.
So the reader has a budget in proportion to the buffer's size; beyond it, reading ends with `FlexBufferError`. A value
takes far more memory in Python than in a buffer, so their number is limited, too.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

NULL, INT, UINT, FLOAT, KEY, STRING = 0, 1, 2, 3, 4, 5
INDIRECT_INT, INDIRECT_UINT, INDIRECT_FLOAT, MAP, VECTOR = 6, 7, 8, 9, 10
VECTOR_INT, VECTOR_STRING = 11, 15
VECTOR_INT2, VECTOR_FLOAT4 = 16, 24
BLOB, BOOL, VECTOR_BOOL = 25, 26, 36

MAX_DEPTH = 64
MAX_VALUES = 1 << 18
"""Number of values that a buffer may hold; Golem's messages hold a few hundred."""
_WIDE = 3  # log2 of the 8 bytes that the writer gives to every value
_INTEGER = {(INT, 1): "<b", (INT, 2): "<h", (INT, 4): "<i", (INT, 8): "<q"}
_INTEGER |= {(UINT, 1): "<B", (UINT, 2): "<H", (UINT, 4): "<I", (UINT, 8): "<Q"}
_SCALAR = {key: struct.Struct(code) for key, code in _INTEGER.items()}
_SCALAR |= {(FLOAT, 2): struct.Struct("<e"), (FLOAT, 4): struct.Struct("<f"), (FLOAT, 8): struct.Struct("<d")}
_OFFSET = {width: _SCALAR[UINT, width] for width in (1, 2, 4, 8)}


class FlexBufferError(ValueError):
    """Says that a buffer is no FlexBuffer or stands for far more than it holds, or that a value cannot be encoded."""


def decode(buffer: bytes | memoryview) -> object:
    """Returns the value in `buffer`: None, bool, int, float, str, bytes, list or dict[str, …].

    Raises:
        FlexBufferError: the buffer is malformed, nested more than 64 deep, has more than `MAX_VALUES` values, or
            describes far more data than it holds.
    """
    try:
        return _Reader(bytes(buffer)).root()
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise FlexBufferError(f"The payload is not a FlexBuffer: {error}.") from error


def encode(value: object) -> bytes:
    """Returns `value` as a FlexBuffer.

    Raises:
        FlexBufferError: `value` has a type that FlexBuffers cannot hold, text that is not Unicode, an integer beyond 64
            bits, a key that is no string or holds a NUL, or is nested more than 64 deep.
    """
    writer = _Writer()
    try:
        kind, word = writer.put(value, 0)
    except UnicodeEncodeError as error:
        raise FlexBufferError(f"The message holds text that is not Unicode: {error}.") from error
    writer.align()
    writer.word(kind, word)
    writer.buffer += bytes((kind << 2 | _WIDE, 8))
    return bytes(writer.buffer)


class _Reader:
    def __init__(self, buffer: bytes) -> None:
        self.buffer = buffer
        # Honest buffers share nothing but keys, so they hold at least a byte for each element and character.
        self.budget = 4 * len(buffer) + 256
        self.values = 0
        self.keys: dict[int, str] = {}

    def root(self) -> object:
        width, packed = self.buffer[-1], self.buffer[-2]
        return self.value(len(self.buffer) - 2 - width, width, packed, 0)

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise FlexBufferError("The payload is a FlexBuffer that unfolds to far more than it holds.")

    def scalar(self, kind: int, position: int, width: int) -> int | float:
        if position < 0:
            raise FlexBufferError("The payload is not a FlexBuffer: an offset leads out of it.")
        number: int | float = _SCALAR[kind, width].unpack_from(self.buffer, position)[0]
        return number

    def unsigned(self, position: int, width: int) -> int:
        if position < 0:
            raise FlexBufferError("The payload is not a FlexBuffer: an offset leads out of it.")
        number: int = _OFFSET[width].unpack_from(self.buffer, position)[0]
        return number

    def slice(self, start: int, length: int) -> bytes:
        self.spend(length)
        if start + length > len(self.buffer):
            raise FlexBufferError("The payload is not a FlexBuffer: it is cut short.")
        return self.buffer[start : start + length]

    def key(self, start: int) -> str:
        if start not in self.keys:
            end = self.buffer.find(b"\0", start) if start >= 0 else -1
            if end < 0:
                raise FlexBufferError("The payload is not a FlexBuffer: an offset leads out of it.")
            self.keys[start] = self.slice(start, end - start).decode()
        return self.keys[start]

    def value(self, position: int, parent_width: int, packed: int, depth: int) -> object:
        self.spend(1)
        self.values += 1
        if self.values > MAX_VALUES:
            raise FlexBufferError(f"The payload is a FlexBuffer with more than {MAX_VALUES} values.")
        if depth > MAX_DEPTH:
            raise FlexBufferError(f"The payload is nested more than {MAX_DEPTH} deep.")
        kind, width = packed >> 2, 1 << (packed & 3)
        if kind == NULL:
            return None
        if kind in (INT, UINT, FLOAT):
            return self.scalar(kind, position, parent_width)
        if kind == BOOL:
            return self.unsigned(position, parent_width) != 0
        target = position - self.unsigned(position, parent_width)
        if kind == KEY:
            return self.key(target)
        if kind in (INDIRECT_INT, INDIRECT_UINT, INDIRECT_FLOAT):
            return self.scalar(kind - INDIRECT_INT + INT, target, width)
        if VECTOR_INT2 <= kind <= VECTOR_FLOAT4:  # vectors of length 2, 3 and 4 have types of their own
            length, element = divmod(kind - VECTOR_INT2, 3)
            return self.typed(INT + element, target, width, length + 2, depth)
        length = self.unsigned(target - width, width)
        if kind == STRING:
            return self.slice(target, length).decode()
        if kind == BLOB:
            return self.slice(target, length)
        self.spend(length)
        if kind == MAP:
            keys = target - 3 * width - self.unsigned(target - 3 * width, width)
            key_width = self.unsigned(target - 2 * width, width)
            names = self.typed(KEY, keys, key_width, length, depth)
            return dict(zip(names, self.untyped(target, width, length, depth), strict=True))
        if kind == VECTOR:
            return self.untyped(target, width, length, depth)
        if VECTOR_INT <= kind <= VECTOR_STRING:
            return self.typed(kind - VECTOR_INT + INT, target, width, length, depth)
        if kind == VECTOR_BOOL:
            return self.typed(BOOL, target, width, length, depth)
        raise FlexBufferError(f"The payload is not a FlexBuffer: type {kind} is unknown.")

    def untyped(self, start: int, width: int, length: int, depth: int) -> list[object]:
        types = self.slice(start + length * width, length)
        return [self.value(start + i * width, width, types[i], depth + 1) for i in range(length)]

    def typed(self, kind: int, start: int, width: int, length: int, depth: int) -> list[object]:
        # A typed vector stores no element types, and its strings carry one-byte lengths.
        return [self.value(start + i * width, width, kind << 2, depth + 1) for i in range(length)]


class _Writer:
    def __init__(self) -> None:
        self.buffer = bytearray()
        self.keys: dict[str, int] = {}

    def align(self) -> None:
        self.buffer += bytes(-len(self.buffer) % 8)

    def word(self, kind: int, word: int | float) -> None:
        """Appends a stored value: a scalar as it is, any other value as the distance back to its position."""
        if kind == FLOAT:
            self.buffer += struct.pack("<d", word)
        elif kind in (NULL, INT, BOOL):
            self.buffer += struct.pack("<q", word)
        elif kind == UINT:
            self.buffer += struct.pack("<Q", word)
        else:
            self.buffer += struct.pack("<Q", len(self.buffer) - word)

    def put(self, value: object, depth: int) -> tuple[int, int | float]:
        """Writes a value that does not fit into a word; returns the type, and the scalar or the position to store."""
        if depth > MAX_DEPTH:
            raise FlexBufferError(f"The message is nested more than {MAX_DEPTH} deep.")
        if value is None:
            return NULL, 0
        if isinstance(value, bool):
            return BOOL, int(value)
        if isinstance(value, int):
            if -(2**63) <= value < 2**63:
                return INT, value
            if value < 2**64 and value > 0:
                return UINT, value
            raise FlexBufferError(f"The integer {value} does not fit 64 bits.")
        if isinstance(value, float):
            return FLOAT, value
        if isinstance(value, str):
            return STRING, self.sized(value.encode(), b"\0")
        if isinstance(value, bytes | bytearray | memoryview):
            return BLOB, self.sized(value, b"")
        if isinstance(value, Mapping):
            return MAP, self.mapping(value, depth)
        if isinstance(value, Sequence):
            return VECTOR, self.elements([self.put(element, depth + 1) for element in value])
        raise FlexBufferError(f"A {type(value).__name__} cannot be sent over the service bus.")

    def sized(self, content: bytes | bytearray | memoryview, end: bytes) -> int:
        self.align()
        self.buffer += struct.pack("<Q", len(content))
        start = len(self.buffer)
        self.buffer += content
        self.buffer += end
        return start

    def key(self, name: object) -> int:
        if not isinstance(name, str) or "\0" in name:
            raise FlexBufferError(f"{name!r} cannot be a key of a FlexBuffer.")
        if name not in self.keys:
            self.keys[name] = len(self.buffer)
            self.buffer += name.encode() + b"\0"
        return self.keys[name]

    def mapping(self, value: Mapping[object, object], depth: int) -> int:
        # Keys are sorted by their bytes, because readers look them up by bisection.
        names = sorted(value, key=lambda name: name.encode() if isinstance(name, str) else b"")
        keys = [(KEY, self.key(name)) for name in names]
        stored = [self.put(value[name], depth + 1) for name in names]
        self.align()
        self.buffer += struct.pack("<Q", len(keys))
        start_of_keys = len(self.buffer)
        for kind, position in keys:
            self.word(kind, position)
        self.word(KEY, start_of_keys)  # KEY stands for any type that is stored as an offset
        self.buffer += struct.pack("<Q", 8)
        return self.elements(stored)

    def elements(self, stored: list[tuple[int, int | float]]) -> int:
        self.align()
        self.buffer += struct.pack("<Q", len(stored))
        start = len(self.buffer)
        for kind, word in stored:
            self.word(kind, word)
        self.buffer += bytes(kind << 2 | _WIDE for kind, _ in stored)
        return start
