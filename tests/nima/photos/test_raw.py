"""RAW files: the camera's preview, upright for every orientation; without a good preview, the developed sensor."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import encoded, picture
from drawn_raw import dng
from PIL import Image

from nima.photos.reading import PhotoError, open_photo, read_photo

UPRIGHT = picture(1, 640, 480)
STORED = {  # EXIF 2.3, table 6: how the sensor sees the upright scene
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.rotate(180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}


def likeness(photo: Image.Image, scene: Image.Image = UPRIGHT) -> float:
    """Returns the correlation of two pictures' greys, independent of size, contrast and colours."""
    one, other = (np.asarray(image.resize((32, 24)).convert("L"), dtype=float).ravel() for image in (photo, scene))
    return float(np.corrcoef(one, other)[0, 1])


@pytest.fixture
def rawpy() -> None:
    pytest.importorskip("rawpy", reason="needs the extra raw")


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize(
    ("preview", "orientation"),
    [
        *(("as the sensor", orientation) for orientation in STORED),
        *(("says how it lies", orientation) for orientation in STORED),
        *(("upright", orientation) for orientation in (5, 6, 7, 8)),  # the others cannot be told from the sides
    ],
)
def test_a_preview_comes_out_upright(preview: str, orientation: int, tmp_path: Path) -> None:
    stored = STORED[orientation](UPRIGHT)
    jpeg = encoded(UPRIGHT if preview == "upright" else stored, "JPEG")
    if preview == "says how it lies":
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / "preview.jpg", exif=exif)
        jpeg = (tmp_path / "preview.jpg").read_bytes()
    file = tmp_path / "photo.DNG"
    file.write_bytes(dng(stored, jpeg, orientation))
    photo = read_photo(file, long_side=320)
    assert photo.image.size == (320, 240)
    assert (photo.width, photo.height) == (640, 480)
    assert photo.taken == datetime(2024, 5, 1, 12, 30, 15)
    assert likeness(photo.image) > 0.99


@pytest.mark.usefixtures("rawpy")
@pytest.mark.parametrize("preview", [None, encoded(picture(9, 160, 120), "JPEG")], ids=["none", "a stamp"])
@pytest.mark.parametrize("orientation", STORED)
def test_the_sensor_is_developed_where_there_is_no_fair_preview(
    orientation: int, preview: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / "photo.nef"
    file.write_bytes(dng(STORED[orientation](UPRIGHT), preview, orientation))
    photo = read_photo(file)
    assert photo.image.size == (320, 240)
    assert (photo.width, photo.height) == (640, 480)
    assert likeness(photo.image) > 0.9 > likeness(picture(9, 640, 480))


@pytest.mark.usefixtures("rawpy")
def test_a_sensor_without_colours_is_grey(tmp_path: Path) -> None:
    file = tmp_path / "photo.dng"
    file.write_bytes(dng(UPRIGHT.convert("L"), None))
    photo = open_photo(file)
    assert likeness(photo) > 0.9
    assert np.ptp(np.asarray(photo), axis=2).max() == 0


@pytest.mark.usefixtures("rawpy")
def test_a_broken_raw_file_is_one_clear_error(tmp_path: Path) -> None:
    whole = dng(UPRIGHT, encoded(UPRIGHT, "JPEG"))
    for name, content in (("empty", b""), ("text", b"no photo" * 99), ("cut", whole[: len(whole) // 3])):
        file = tmp_path / f"{name}.cr2"
        file.write_bytes(content)
        with pytest.raises(PhotoError, match=rf"{name}\.cr2: this is no RAW file that LibRaw can read \(\w"):
            open_photo(file)


def test_without_rawpy_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    file = tmp_path / "photo.arw"
    file.write_bytes(dng(UPRIGHT, encoded(UPRIGHT, "JPEG")))
    program = (
        "import sys\nsys.modules['rawpy'] = None\nfrom nima.photos.reading import PhotoError, open_photo\n"
        "try:\n    open_photo(sys.argv[1])\nexcept PhotoError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{file}: RAW files need rawpy, which comes with: pip install 'nima-golem[raw]'.\n"
