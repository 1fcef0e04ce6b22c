"""Sources of photos: an open file is read whole, whoever else reads it at the same time."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

from nima.photos.sources import readable


def test_one_open_file_in_many_threads_is_read_whole_by_each() -> None:
    class Slow(io.BytesIO):
        """A file whose position another thread could see between two calls."""

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            time.sleep(0.01)
            return content

    file = Slow(b"content")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(readable, [file] * 8)) == [b"content"] * 8
