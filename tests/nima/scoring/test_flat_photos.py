"""Groups of photos whose hashes tell little, and of photos that belong together: flat ones, brackets and panoramas."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import picture
from PIL import Image, ImageDraw, ImageFilter
from PIL.TiffImagePlugin import IFDRational

from nima.photos import Appearance, appearance_of, read_photo
from nima.scoring.cache import ScoreCache
from nima.scoring.grouping import group_numbers, with_groups
from nima.scoring.score import Score
from requestor.scoring.selection import Selection

SIZE = (300, 200)


def looks_of(image: Image.Image, second: int | None = None, bias: float | None = None) -> Appearance:
    """Returns the appearance of an image that was saved as a JPEG, taken so many seconds after noon."""
    exif = Image.Exif()
    if second is not None:
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 12:00:{second:02}"
    if bias is not None:
        exif.get_ifd(0x8769)[0x9204] = IFDRational(round(bias * 3), 3)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, exif=exif)
    return appearance_of(read_photo(file.getvalue()))


def disc(level: int, shade: int, box: tuple[int, int, int, int], kind: str = "ellipse") -> Image.Image:
    """Draws one thing before a background of one level."""
    image = Image.new("L", SIZE, level)
    getattr(ImageDraw.Draw(image), kind)(box, fill=shade)
    return image.filter(ImageFilter.GaussianBlur(1))


FLAT = {
    "moon left": disc(8, 230, (40, 40, 65, 65)),
    "moon right": disc(8, 230, (220, 120, 245, 145)),
    "large moon": disc(8, 230, (80, 20, 220, 160)),
    "ball": disc(250, 100, (110, 60, 190, 140)),
    "box": disc(250, 90, (100, 80, 150, 150), "rectangle"),
    "ring": disc(250, 235, (125, 85, 160, 120)),
    "black": Image.new("L", SIZE, 3),
    "white": Image.new("L", SIZE, 252),
}


def noisy(image: Image.Image, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, 2, (SIZE[1], SIZE[0]))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def chosen(appearances: Sequence[Appearance]) -> int:
    """Returns how many photos `--best-of-group` keeps."""
    scores = [
        Score.of(f"{index}.jpg", np.eye(10)[index % 10], "drawn@0", *SIZE, looks)
        for index, looks in enumerate(appearances)
    ]
    return len(list(Selection(best_of_group=True).of(with_groups(scores))))


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("noise", [False, True])
def test_flat_photos_of_different_things_are_apart(timed: bool, noise: bool) -> None:
    images = [noisy(image, seed) if noise else image for seed, image in enumerate(FLAT.values())]
    looks = [looks_of(image, index if timed else None) for index, image in enumerate(images)]
    assert group_numbers(looks) == list(range(1, len(FLAT) + 1))


@pytest.mark.parametrize("name", ["moon left", "large moon", "ball", "box"])
def test_flat_photos_of_one_thing_are_together(name: str) -> None:
    image = FLAT[name]
    copies = [noisy(image, 0), noisy(image, 1), image.resize((150, 100))]
    assert group_numbers([looks_of(one) for one in copies]) == [1, 1, 1]


def test_blank_frames_connect_nothing_and_are_alone() -> None:
    blank = [looks_of(noisy(FLAT[name], seed)) for seed, name in enumerate(("black", "white", "black"))]
    photos = [looks_of(FLAT["moon left"]), *blank, looks_of(FLAT["moon right"])]
    assert group_numbers(photos) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("biases", "kept"), [((0, -2, 2), 3), ((0, -1, 1, 0, -1, 1), 6), ((0, 0, 0), 1), ((0, 0, -1), 1)]
)
def test_exposure_brackets_are_kept_whole(biases: Sequence[float], kept: int) -> None:
    photos = [
        looks_of(
            picture(1).point([min(255, round(level * 2 ** (bias / 2.2))) for level in range(256)] * 3), index, bias
        )
        for index, bias in enumerate(biases)
    ]
    assert [looks.exposure_bias for looks in photos] == list(biases)
    assert chosen(photos) == kept


def wide_view() -> Image.Image:
    """Draws a coast of 900 × 200 pixels: bright sky, dark ground, and faint hills that differ from place to place."""
    rows = np.linspace(230, 30, 200)[:, None]
    hills = np.asarray(picture(3, 900, 200).convert("L"), dtype=np.float64) / 4
    return Image.fromarray(np.clip(rows + hills, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("step", [60, -60, 100])
def test_panoramas_are_kept_whole(step: int) -> None:
    frames = [
        wide_view().crop((left, 0, left + 300, 200)) for left in (300, 300 + step, 300 + 2 * step, 300 + 3 * step)
    ]
    photos = [looks_of(frame, 3 * index) for index, frame in enumerate(frames)]
    assert len(set(group_numbers(photos))) < len(photos)  # they look alike, or there would be nothing to keep
    assert chosen(photos) == len(photos)


def test_a_hand_that_moves_makes_no_panorama() -> None:
    frames = [wide_view().crop((left, 2, left + 300, 198)) for left in (300, 304, 308, 301)]
    assert chosen([looks_of(frame, index) for index, frame in enumerate(frames)]) == 1


def test_sharpness_and_exposure_tell_the_photos_of_a_burst_apart() -> None:
    sharp = noisy(FLAT["ball"], 0)
    looks = [looks_of(sharp), looks_of(sharp.filter(ImageFilter.GaussianBlur(3)))]
    assert looks[0].sharpness is not None
    assert looks[1].sharpness is not None
    assert looks[0].sharpness > 2 * looks[1].sharpness
    greys = [looks_of(Image.new("L", SIZE, level)).exposure for level in (0, 118, 255)]
    assert greys == pytest.approx([-8, 0, np.log2(1 / 0.18)], abs=0.05)


def test_the_cache_keeps_the_figures(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    looks = looks_of(picture(1), 3, -1)
    cache = ScoreCache(tmp_path / "cache")
    file = cache.identify(path)
    assert file is not None
    cache.add_appearances([(file, looks)])
    assert cache.find_appearance(file.sha256, thumbnail=False) == looks
