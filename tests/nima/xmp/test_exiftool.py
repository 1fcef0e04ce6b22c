"""Ratings that are written into photos: the pixels and the other metadata stay, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from drawn_photos import encoded, picture
from drawn_raw import dng
from photo_metadata import exiftool, metadata, needs_exiftool
from PIL import Image

from nima.photos import open_photo
from nima.xmp.embedded import Properties, properties_inside
from nima.xmp.exiftool import embed_rating, find_exiftool
from nima.xmp.packet import NEW_XMP, XmpError, rating_in, with_property
from nima.xmp.rating import PhotoRater, RatingResult

pytestmark = needs_exiftool


@pytest.fixture(params=[".jpg", ".tif", ".png", ".heic"])
def photo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Draws a photo of each format, with a profile and the name of its photographer."""
    path = tmp_path / f"photo{request.param}"
    image = picture(1, 64, 48)
    exif = Image.Exif()
    exif[0x013B] = "Somebody"
    if request.param == ".heic":
        pillow_heif.from_pillow(image).save(path, exif=exif.tobytes())
    else:
        image.save(path, exif=exif)
    return path


def folder_of(photo: Path) -> set[str]:
    return {path.name for path in photo.parent.iterdir()}


@pytest.mark.parametrize("rating", [-1, 4])
def test_pixels_and_metadata_stay_and_one_rating_is_added(rating: int, photo: Path) -> None:
    pixels = np.asarray(open_photo(photo))
    exiftool("-overwrite_original", "-IFD0:Rating=3", photo)
    photo.chmod(0o640)
    embed_rating(photo, rating, "Red")
    assert np.array_equal(np.asarray(open_photo(photo)), pixels)
    assert metadata(photo).items() >= {"Rating": rating, "Label": "Red", "Artist": "Somebody"}.items()
    assert properties_inside(photo) == Properties(rating, "Red")
    assert photo.stat().st_mode & 0o777 == 0o640
    assert folder_of(photo) == {photo.name}


def test_a_dng_keeps_its_sensor_values(tmp_path: Path) -> None:
    rawpy = pytest.importorskip("rawpy")
    photo = tmp_path / "photo.dng"
    photo.write_bytes(dng(picture(1, 64, 48), encoded(picture(1, 64, 48), "JPEG")))

    def sensor() -> np.ndarray:  # type: ignore[type-arg]
        with rawpy.imread(str(photo)) as raw:
            return np.array(raw.raw_image)

    values = sensor()
    embed_rating(photo, 4)
    assert np.array_equal(sensor(), values)
    assert metadata(photo)["Rating"] == 4


def test_links_to_photos_stay(photo: Path) -> None:
    link = photo.with_name(f"link{photo.suffix}")
    link.symlink_to(photo.name)
    embed_rating(link, 2)
    assert link.is_symlink()
    assert metadata(photo)["Rating"] == 2


def test_a_rating_inside_is_kept_or_replaced_together_with_that_of_the_sidecar(photo: Path) -> None:
    sidecar = photo.with_name(f"{photo.name}.xmp")
    assert PhotoRater("embed", dry_run=True).rate(photo, 4) == RatingResult(4, photo, kept=False)
    assert properties_inside(photo) == Properties()
    assert PhotoRater("embed").rate(photo, 4, "Red") == RatingResult(4, photo, kept=False)
    assert PhotoRater("embed").rate(photo, 2, "Blue") == RatingResult(4, photo, kept=True)
    assert folder_of(photo) == {photo.name}
    PhotoRater("darktable", overwrite=True).rate(photo, 5)
    PhotoRater("embed", overwrite=True).rate(photo, 1)
    assert (properties_inside(photo), rating_in(sidecar.read_bytes())) == (Properties(1, "Red"), 1)


def cut(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:100])


def renamed_text(photo: Path) -> None:
    photo.write_text("no photo")


@pytest.mark.parametrize("damage", [cut, renamed_text])
def test_a_damaged_photo_stays_as_it_is(damage: Callable[[Path], None], photo: Path) -> None:
    damage(photo)
    content = photo.read_bytes()
    with pytest.raises(XmpError, match="exiftool cannot write"):
        embed_rating(photo, 4)
    assert photo.read_bytes() == content
    assert folder_of(photo) == {photo.name}


def test_a_second_rating_that_exiftool_would_leave_is_refused(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(picture(1, 64, 48), "JPEG") + with_property(NEW_XMP, "Rating", "0"))
    content = photo.read_bytes()
    with pytest.raises(XmpError, match="unusual place"):
        embed_rating(photo, 4)
    assert photo.read_bytes() == content


@pytest.mark.parametrize("dry_run", [True, False])
def test_other_formats_are_refused(dry_run: bool, tmp_path: Path) -> None:
    photo = tmp_path / "photo.gif"
    picture(1, 64, 48).save(photo)
    with pytest.raises(XmpError, match=r"photo\.gif: ratings are written into JPEG"):
        PhotoRater("embed", dry_run=dry_run).rate(photo, 4)


def test_without_exiftool_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(XmpError, match="libimage-exiftool-perl"):
        find_exiftool()
