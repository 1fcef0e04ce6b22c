"""Builds small ICC profiles (ICC.1:2001-04, version 2.4), so that tests need no profile of anybody else."""

from __future__ import annotations

import struct

import numpy as np
from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_D50 = (0.9642, 1.0, 0.8249)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _gamma(exponent: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256)) + b"\0\0"


def _profile(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"desc\0\0\0\0" + struct.pack(">I", 6) + b"drawn\0" + b"\0" * 78
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50)} | tags
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(">I", start + len(body)) + b"\0\0\0\0\x02\x40\0\0" + device + space + connection
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + b"".join(_fixed(value) for value in _D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


WIDE_RGB = _profile(
    b"mntr",
    b"RGB ",
    b"XYZ ",
    {
        # The primaries of ProPhoto RGB (ISO 22028-2), whose sum is the white point.
        b"rXYZ": _xyz((0.7977, 0.2880, 0.0000)),
        b"gXYZ": _xyz((0.1352, 0.7119, 0.0000)),
        b"bXYZ": _xyz((0.0313, 0.0001, 0.8249)),
        b"rTRC": _gamma(1.8),
        b"gTRC": _gamma(1.8),
        b"bTRC": _gamma(1.8),
    },
)
"""RGB with wide primaries and a gamma of 1.8."""

PALE_GREY = _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.5)})
"""Grey with a gamma of 1.5, so its sRGB values are higher."""


def _cmyk_table(red_share: float) -> bytes:
    """Builds a table of 2⁴ corners from CMYK to Lab of 8 bits: ink darkens; magenta and cyan set the red."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(16, 4)
    cyan, magenta, yellow, black = corners.T
    lightness = 255 * np.clip(1 - (cyan + magenta + yellow) / 4 - black / 2, 0, 1)
    lab = np.stack([lightness, 128 + red_share * 60 * (magenta - cyan), 128 + 60 * yellow - 30 * cyan], axis=-1)
    steps = bytes(range(256))
    matrix = b"".join(_fixed(value) for value in np.eye(3).ravel())
    return (
        b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + steps * 4 + np.rint(lab).astype(np.uint8).tobytes() + steps * 3
    )


PRINT_CMYK = _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": _cmyk_table(1.0), b"A2B1": _cmyk_table(-1.0)})
"""CMYK whose perceptual and colorimetric tables differ in the direction of red."""
