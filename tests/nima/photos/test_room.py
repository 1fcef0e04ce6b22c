"""Photos that are decoded at the same time share a bounded number of pixels."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from drawn_photos import encoded
from PIL import Image, ImageFile

from nima.photos.reading import open_photo
from nima.photos.room import MAX_PIXELS_IN_FLIGHT, Room


def test_no_more_pixels_are_held_than_there_are_and_nobody_waits_for_ever() -> None:
    room, lock = Room(100), threading.Lock()
    held, most = 0, 0

    def hold(pixels: int) -> None:
        nonlocal held, most
        with room.of(pixels):
            with lock:
                held += min(pixels, 100)
                most = max(most, held)
            time.sleep(0.001)
            with lock:
                held -= min(pixels, 100)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hold, [1, 30, 99, 100, 5000, 40, 60, 10] * 20))
    assert (held, most) == (0, 100)


def test_a_large_photo_is_not_passed_by_small_ones_for_ever() -> None:
    room, done = Room(10), []

    def hold(name: str, pixels: int) -> None:
        with room.of(pixels):
            done.append(name)

    with room.of(5):
        large = threading.Thread(target=hold, args=("large", 10))
        large.start()
        while not room._queue:
            time.sleep(0.001)
        small = threading.Thread(target=hold, args=("small", 1))
        small.start()
        time.sleep(0.01)
        assert done == []
    large.join()
    small.join()
    assert done == ["large", "small"]


def test_an_error_gives_the_pixels_back() -> None:
    room = Room(10)
    with pytest.raises(RuntimeError), room.of(10):
        raise RuntimeError
    with room.of(10):
        pass


def test_photos_of_many_pixels_are_decoded_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen photos of a tenth of the pixels each, in sixteen threads: never more than ten at once."""
    decoding, most, lock = 0, 0, threading.Lock()
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> object:
        nonlocal decoding, most
        with lock:
            decoding += 1
            most = max(most, decoding)
        time.sleep(0.02)
        try:
            return load(image)
        finally:
            with lock:
                decoding -= 1

    file = encoded(Image.new("1", (10_000, 1000)), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", watched)
    assert MAX_PIXELS_IN_FLIGHT == 100_000_000
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: open_photo(file, 100), range(16)))
    assert 1 < most <= 10
