"""Opens JPEGs: also those that are too large to be decoded whole, and those that lack their end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from nima.photos.room import DECODING

MAX_STORED_PIXELS = 1_000_000_000
"""Limit of the pixels in a file, whatever scale it is decoded at: each of them takes its time."""

_END = b"\xff\xd9"
_MOST_MISSING = 0.02  # of the pixels
_BLOCK = 8  # height of most blocks at half scale, in pixels
_LARGE = 100_000_000  # pixels
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (ITU-T T.81, table B.1)
_SCAN = 0xDA


def opened(file: BinaryIO) -> JpegImageFile:
    """Reads the header; unlike `PIL.Image.open`, accepts any number of pixels. Raises what Pillow raises."""
    return JpegImageFile(file)


def decoded_pixels(image: JpegImageFile) -> int:
    """Returns the pixels whose memory (4 bytes each) the decoding of a drafted image takes.

    A JPEG of several scans, as a progressive one is, takes memory for all of its coefficients at any scale.
    """
    pixels = image.width * image.height
    if _has_one_scan(image):
        return pixels
    scale = max(1, image.decoderconfig[0] if image.decoderconfig else 1)
    sampling = [(v, h) for _, v, h, _ in image.layer]
    finest = max(v for v, _ in sampling) * max(h for _, h in sampling)
    coefficients = pixels * scale**2 * sum(v * h for v, h in sampling) // max(1, finest)
    return pixels + coefficients // 2  # a coefficient has 2 bytes


def with_end(content: bytes) -> bytes | None:
    """Returns the file of a JPEG whose end is missing with an end; None if too much is missing for that.

    Viewers show such a file, with grey or coarse pixels for those that are missing. A score of them would mislead, so
    at most 2% of the pixels may be missing, and of a progressive JPEG no scan. To find out how many are missing, the
    file is decoded twice, with nothing and with noise in place of the rest. What differs is not in the file.

    Raises what Pillow raises if the file has other damage.
    """
    content = content.rstrip(b"\xff")  # the first half of a marker
    if not _scans_are_complete(content):
        return None
    plain, noisy = _decoded(content + _END), _decoded(content + _noise() + _END)
    return content + _END if _differing_share(plain, noisy) <= _MOST_MISSING else None


def _differing_share(plain: NDArray[np.uint8], noisy: NDArray[np.uint8]) -> float:
    """Returns the share of the pixels from the first block that differs to the end, as blocks come in this order."""
    differs = (plain != noisy).any(axis=2)
    rows = np.flatnonzero(differs.any(axis=1))
    if not len(rows):
        return 0.0
    height, width = differs.shape
    first = int(rows[0])
    left = int(differs[first : first + _BLOCK].any(axis=0).argmax())
    missing = (height - first) * width - min(_BLOCK, height - first) * left
    return float(missing / (height * width))


def unusual_kind(content: bytes) -> str | None:
    """Returns the kind of a JPEG that few programs read, such as "a JPEG with 12 bits a channel"; None for others."""
    for marker, segment in _segments(content):
        if marker in _FRAMES and len(segment) >= 6:
            if marker >= 0xC9:
                return "an arithmetic-coded JPEG"
            if marker == 0xC3:
                return "a lossless JPEG"
            if marker in (0xC5, 0xC6, 0xC7):
                return "a hierarchical JPEG"
            if segment[0] != 8:
                return f"a JPEG with {segment[0]} bits a channel"
            if segment[5] not in (1, 3, 4):
                return f"a JPEG with {segment[5]} channels"
            return None
    return None


def _has_one_scan(image: JpegImageFile) -> bool:
    """Returns whether the first scan, whose header has just been read, has all of a sequential image's channels."""
    if image.info.get("progressive") or image.fp is None:
        return False
    length = 6 + 2 * image.layers
    image.fp.seek(-length - 2, 1)
    header = image.fp.read(length + 2)
    return header == bytes([0xFF, _SCAN]) + struct.pack(">HB", length, image.layers) + header[5:]


def _scans_are_complete(content: bytes) -> bool:
    """Returns whether scans for all coefficients of all channels, to their last bit, have begun."""
    progressive, channels = False, 0
    for marker, segment in _segments(content):
        if marker in _FRAMES and len(segment) >= 6:
            progressive, channels = marker in (0xC2, 0xCA), segment[5]
    if not progressive:
        return True  # scans of single channels are rare, and noise shows them
    begun: set[tuple[int, int]] = set()
    at = content.find(bytes([0xFF, _SCAN]))
    while at >= 0:
        count = content[at + 4] if at + 4 < len(content) else 0
        ids = content[at + 5 : at + 5 + 2 * count : 2]
        bounds = content[at + 5 + 2 * count : at + 8 + 2 * count]  # first coefficient, last one, bits
        if len(bounds) == 3 and bounds[2] & 15 == 0:
            begun |= {(channel, index) for channel in ids for index in range(bounds[0], min(64, bounds[1] + 1))}
        at = content.find(bytes([0xFF, _SCAN]), at + 2)
    return len(begun) == 64 * channels


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields marker and content of each segment before the first scan."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _SCAN:
            return
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, content[at + 4 : at + 2 + length]
        at += 2 + max(2, length)


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """Decodes at half scale, at which every scan still shows; very large ones at 1/8."""
    with opened(BytesIO(content)) as image:
        scale = 2 if image.width * image.height < _LARGE else 8
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        with DECODING.of(decoded_pixels(image)):
            return np.asarray(image.convert("RGB"))


def _noise() -> bytes:
    """Returns entropy-coded data that means nothing, in which decoders find a restart marker if they want one."""
    random = np.random.default_rng(0)
    parts = [random.integers(0, 255, 4096, dtype=np.uint8).tobytes()]
    for restart in _RESTARTS:
        parts += [bytes([0xFF, restart]), random.integers(0, 255, 256, dtype=np.uint8).tobytes()]
    return b"".join(parts)
