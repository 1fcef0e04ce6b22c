"""Makes RAW files for tests: the smallest DNGs that a reader accepts, with or without a JPEG preview.

Source: Adobe, "Digital Negative Specification 1.4", 2012; TIFF 6.0 for the frame.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 10: "ii"}  # TIFF's field types, by how struct writes one value


def dng(image: Image.Image, preview: bytes | None, orientation: int = 1) -> bytes:
    """Makes a DNG that was taken at 12:30 on 1 May 2024.

    The sensor sees `image` (even sides) through an RGGB filter, or without one if it is grey; `preview` is JPEG bytes.
    """
    width, height = image.size
    filtered = image.mode == "RGB"
    rgb = (np.asarray(image) / 255.0) ** 2.2 * 4095  # a sensor is linear
    sensor = np.empty((height, width), dtype="<u2")
    for row, column, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        sensor[row::2, column::2] = rgb[row::2, column::2, colour] if filtered else rgb[row::2, column::2]
    frame = {
        254: (4, [0]), 256: (4, [width]), 257: (4, [height]), 258: (3, [16]), 259: (3, [1]),
        262: (3, [32803 if filtered else 34892]), 277: (3, [1]), 278: (4, [height]), 50717: (4, [4095]),
    }  # fmt: skip
    if filtered:
        frame |= {33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2])}
    camera = {
        271: (2, b"Drawn\0"), 272: (2, b"Camera\0"), 274: (3, [orientation]), 306: (2, b"2024:05:01 12:30:15\0"),
        50706: (1, [1, 4, 0, 0]), 50707: (1, [1, 1, 0, 0]), 50708: (2, b"Drawn Camera\0"),
        50721: (10, [value for i in range(9) for value in (int(i % 4 == 0), 1)]), 50728: (5, [1, 1] * 3),
        50778: (3, [21]),
    }  # fmt: skip
    if preview is None:
        return _tiff([(camera | frame, sensor.tobytes())])
    with Image.open(BytesIO(preview)) as opened:
        sides = opened.size
    small = {
        254: (4, [1]), 256: (4, [sides[0]]), 257: (4, [sides[1]]), 258: (3, [8, 8, 8]), 259: (3, [7]), 262: (3, [6]),
        277: (3, [3]), 278: (4, [sides[1]]),
    }  # fmt: skip
    return _tiff([(camera | small, preview), (frame, sensor.tobytes())])


def _tiff(images: Sequence[tuple[dict[int, tuple[int, Sequence[int] | bytes]], bytes]]) -> bytes:
    """Writes a TIFF of one strip per image; the tag SubIFDs (330) of the first image points to the others."""
    file = bytearray(b"II*\0\0\0\0\0")
    below: list[int] = []
    for tags, strip in reversed(images):
        entries = tags | {273: (4, [len(file)]), 279: (4, [len(strip)])}
        file += strip + b"\0" * (len(strip) % 2)
        if tags is images[0][0] and below:
            entries[330] = (4, below)
        directory = b""
        for tag, (kind, values) in sorted(entries.items()):
            content = b"".join(
                struct.pack(f"<{_SIZES[kind]}", *values[i : i + len(_SIZES[kind])])
                for i in range(0, len(values), len(_SIZES[kind]))
            )
            if len(content) > 4:
                content, place = struct.pack("<I", len(file)), content
                file += place + b"\0" * (len(place) % 2)
            directory += struct.pack("<HHI", tag, kind, len(values) // len(_SIZES[kind])) + content.ljust(4, b"\0")
        below.append(len(file))
        file += struct.pack("<H", len(entries)) + directory + b"\0\0\0\0"
    struct.pack_into("<I", file, 4, below[-1])
    return bytes(file)
