"""Stores activations as rows of a file: a row for each photo of a shard, and then a byte for each: 1 if it is written.

A row holds

    maps    float16    the output of the last frozen block, in the order in which the network computes it
    levels  float32    the pooled outputs, which float16 is too coarse for: a channel's mean may be a thousand times its
                       deviation (if all blocks are frozen, `maps` is pooled, too, and so float32)

A file is never mapped into memory, because a provider's volumes (9p) do not keep a file and its mapping the same.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Activations

_LARGEST = float(torch.finfo(torch.float16).max)


class RowLayout:
    """The layout of a row, and the way from activations to rows and back.

    Args:
        probe: activations of any image, of the network and the frozen blocks whose activations are to be stored.

    Attributes:
        row: the numpy type of a row.
    """

    def __init__(self, probe: Activations) -> None:
        # Another order in memory would change the order of sums, and so their last digits.
        strides = probe.maps.stride()
        self._order = [0, *sorted(range(1, probe.maps.dim()), key=lambda dimension: -strides[dimension])]
        self._sizes = [level.shape[1] for level in probe.levels]
        self._half = probe.maps.dim() > 2
        maps = ("maps", "<f2" if self._half else "<f4", tuple(probe.maps.permute(self._order).shape[1:]))
        self.row = np.dtype([maps, ("levels", "<f4", (sum(self._sizes),))])

    def rows_of(self, activations: Activations) -> NDArray[np.void]:
        """Returns the rows `[B]` of the activations of B images."""
        rows = np.empty(len(activations.maps), self.row)
        maps = activations.maps.permute(self._order)
        # A value beyond fp16's range is so extreme that its exact size does not matter.
        rows["maps"] = (maps.clamp(-_LARGEST, _LARGEST).half() if self._half else maps).numpy()
        if self._sizes:
            rows["levels"] = torch.cat(activations.levels, dim=1).numpy()
        return rows

    def activations_of(self, rows: NDArray[np.void]) -> Activations:
        """Returns the activations, float32, of the rows `[B]`."""
        maps = torch.from_numpy(np.ascontiguousarray(rows["maps"])).float()
        maps = maps.permute([self._order.index(dimension) for dimension in range(maps.dim())])
        levels = torch.from_numpy(np.ascontiguousarray(rows["levels"]))
        return Activations(maps, torch.split(levels, self._sizes, dim=1) if self._sizes else ())


class StoredRows:
    """The rows of one shard in a file, which each are written once. If the file fails, that only costs time.

    Args:
        path: the file, which is made anew if it has another size than it should.
        size: size of a row in bytes.
        rows: number of rows.
    """

    def __init__(self, path: Path, size: int, rows: int) -> None:
        self._size = size
        self._flags = rows * size  # position of the first byte behind the rows
        self._written = np.zeros(rows, np.bool_)
        self._file: BinaryIO | None = None
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._file = open(handle, "r+b", buffering=0)  # noqa: SIM115 (open beyond this call)
            os.utime(handle)
            if os.fstat(handle).st_size != self._flags + rows:
                os.ftruncate(handle, 0)
                os.ftruncate(handle, self._flags + rows)
            self._written = np.frombuffer(os.pread(handle, rows, self._flags), np.uint8) == 1

    def __enter__(self) -> StoredRows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, row: int, into: NDArray[np.uint8]) -> bool:
        """Reads a row into `[size]` bytes; returns False if it is not there."""
        if self._file is None or not self._written[row]:
            return False
        return os.preadv(self._file.fileno(), [into.data], row * self._size) == self._size

    def write(self, row: int, content: bytes) -> None:
        """Writes a row, and then that it is there, so that a program that is killed leaves no half row."""
        if self._file is None:
            return
        with suppress(OSError):  # the disk is full
            if os.pwrite(self._file.fileno(), content, row * self._size) == self._size:
                self._written[row] = os.pwrite(self._file.fileno(), b"\1", self._flags + row) == 1
