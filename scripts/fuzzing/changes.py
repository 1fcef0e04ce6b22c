"""Changes inputs at random: their bytes, or the values in them, so that what holds the values together stays intact."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from requestor.golem.bus import flexbuffers

_PIECES = (b"\0", b"\xff\xff\xff\xff", b"[" * 2000, b'{"a":1,"a":2}', b"NaN", b"-1", b"1e999", b"\x1b[2J", b"9" * 5000)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x" * 5000,
        "\x1b[2J",
        "\u202e",
        "\ud800",
        "\0",
        "1",
        "-1",
        "NaN",
        "../../x",
        [],
        {},
        [[]],
        [1],
        ["x"],
        {"x": 1},
    ),
)


@dataclass(frozen=True)
class Format:
    """Takes an input apart into a value of lists, dicts and scalars, and puts a changed value together again.

    take_apart: returns the value, and whatever `put_together` needs besides it.
    put_together: returns the input; raises ValueError, TypeError or OverflowError if the value has no such form.
    """

    take_apart: Callable[[bytes], tuple[Any, bytes]]
    put_together: Callable[[Any, bytes], bytes]


def changed_bytes(seed: bytes, dice: random.Random) -> bytes:
    """Returns `seed` with one to eight random changes of its bytes."""
    content = bytearray(seed)
    for _ in range(dice.randint(1, 8)):
        at = dice.randint(0, len(content))
        end = min(len(content), at + dice.choice([1, 4, 50]))
        kind = dice.randrange(5)
        if kind == 0:
            content[at:end] = dice.randbytes(end - at)
        elif kind == 1:
            del content[at:end]
        elif kind == 2:
            content[at:at] = content[at:end] * dice.choice([1, 100])
        elif kind == 3:
            content[at:at] = dice.choice(_PIECES)
        else:
            content[at:] = b""
    return bytes(content)


def changed_values(seed: bytes, form: Format, dice: random.Random) -> bytes | None:
    """Returns `seed` with one to three values changed; None if the changed values have no such form."""
    value, rest = form.take_apart(seed)
    for _ in range(dice.randint(1, 3)):
        value = _changed(value, dice)
    try:
        return form.put_together(value, rest)
    except (ValueError, TypeError, OverflowError, struct.error):
        return None


def _changed(value: Any, dice: random.Random) -> Any:
    """Returns a copy of `value` in which one part, at any depth, is another, is missing, or stands twice."""
    if not isinstance(value, (dict, list)) or not value or dice.random() < 0.1:
        return dice.choice(_VALUES)
    pairs: list[tuple[Any, Any]] = list(value.items() if isinstance(value, dict) else enumerate(value))
    at = dice.randrange(len(pairs))
    key, part = pairs[at]
    kind = dice.randrange(6)
    if kind == 0:
        del pairs[at]
    elif kind == 1 and isinstance(value, dict):
        pairs.append((dice.choice(["", "x", str(key) + " ", str(key).upper(), "\x1b[2J", "__proto__"]), part))
    elif kind == 1:
        pairs.append((len(pairs), part))
    elif kind == 2:
        pairs[at] = (key, dice.choice(pairs)[1])
    else:
        pairs[at] = (key, _changed(part, dice))
    return dict(pairs) if isinstance(value, dict) else [part for _, part in pairs]


def _json_apart(content: bytes) -> tuple[Any, bytes]:
    return json.loads(content), b""


def _json_together(value: Any, rest: bytes) -> bytes:
    return json.dumps(value).encode()


def _lines_apart(content: bytes) -> tuple[Any, bytes]:
    return [json.loads(line) for line in content.splitlines()], b""


def _lines_together(value: Any, rest: bytes) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in (value if isinstance(value, list) else [value]))


def _safetensors_apart(content: bytes) -> tuple[Any, bytes]:
    """Splits after the header: 8 bytes with its length, little-endian, and JSON (huggingface/safetensors, README)."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _safetensors_together(value: Any, rest: bytes) -> bytes:
    header = json.dumps(value).encode()
    return len(header).to_bytes(8, "little") + header + rest


def _image_apart(content: bytes) -> tuple[Any, bytes]:
    length = int(content[-8:])
    return json.loads(content[-8 - length : -8]), content[: -12 - length]


def _image_together(value: Any, rest: bytes) -> bytes:
    config = json.dumps(value).encode()
    return rest + struct.pack("<I", zlib.crc32(config)) + config + b"%08d" % len(config)


JSON = Format(_json_apart, _json_together)
JSON_LINES = Format(_lines_apart, _lines_together)
SAFETENSORS = Format(_safetensors_apart, _safetensors_together)
IMAGE = Format(_image_apart, _image_together)
FLEXBUFFERS = Format(lambda content: (flexbuffers.decode(content), b""), lambda value, rest: flexbuffers.encode(value))
