"""Keeps a command's output as the script's `capture` asks: nothing, everything, its beginning, its end, or both.

The rules are those of the exe-unit (yagna exe-unit `output.rs`), the unexpected ones included: an empty output is null,
bytes that are not UTF-8 are shown as Latin-1, and `headTail` repeats the bytes that lie in both halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CapturedOutput:
    """Keeps one output stream of one command. If `streamed`, chunks are also sent to the requestor as they arrive."""

    def __init__(self, *, head: int | None = 0, tail: int = 0, streamed: bool = False, binary: bool = False) -> None:
        """Sets how much is kept, and how it is shown.

        `head` and `tail` are numbers of bytes at the beginning and at the end of the output; with None as `head`, all
        is kept. If `binary`, the output is shown as a list of byte values, otherwise as text.
        """
        self.streamed = streamed
        self._binary = binary
        self._head_limit, self._tail_limit = head, tail
        self._head, self._tail = bytearray(), bytearray()

    @classmethod
    def everything(cls) -> CapturedOutput:
        """Returns an empty output that keeps everything, as deploy, start and transfer get it."""
        return cls(head=None, streamed=True)

    @classmethod
    def from_mode(cls, mode: Mapping[str, Any] | None) -> CapturedOutput:
        """Returns an empty output for a script's capture mode: `{"atEnd": {...}}`, `{"stream": {...}}` or None.

        Raises ValueError if the mode has any other shape.
        """
        if mode is None:
            return cls()
        if not isinstance(mode, Mapping) or len(mode) != 1:
            raise ValueError(f"unknown capture mode: {mode!r}")
        (kind, options), *_ = mode.items()
        options = options or {}
        if not isinstance(options, Mapping):
            raise ValueError(f"unknown capture mode: {mode!r}")
        binary = options.get("format") in ("bin", "binary")
        if kind == "stream":
            return cls(head=_limit(options.get("limit")), streamed=True, binary=binary)
        if kind != "atEnd":
            raise ValueError(f"unknown capture mode: {mode!r}")
        if "head" in options:
            return cls(head=_limit(options["head"]), binary=binary)
        if "tail" in options:
            return cls(tail=_limit(options["tail"]) or 0, binary=binary)
        if "headTail" in options:
            both = _limit(options["headTail"]) or 0
            return cls(head=both - both // 2, tail=both // 2, binary=binary)
        return cls(head=None, binary=binary)

    def write(self, data: bytes) -> str | list[int] | None:
        """Keeps the requested part of `data`, and returns the part for a listener; None if there is nothing for it.

        The part is text, or a list of byte values if the output is binary.
        """
        head = data if self._head_limit is None else data[: self._head_limit - len(self._head)]
        self._head += head
        tail = data[-self._tail_limit :] if self._tail_limit else b""
        self._tail = (self._tail + tail)[-self._tail_limit :] if self._tail_limit else bytearray()
        shown = head or tail
        if not shown:
            return None
        return list(shown) if self._binary else shown.decode("utf-8", errors="replace")

    def value(self) -> str | list[int] | None:
        """Returns the captured output as it stands in the command's result; None if it is empty.

        It is text, or a list of byte values if the output is binary.
        """
        data = bytes(self._head + self._tail)
        if not data:
            return None
        if self._binary:
            return list(data)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")


def _limit(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"a capture limit is a number of bytes, not {value!r}")
    return value
