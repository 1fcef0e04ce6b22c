"""Ratings of photos: a person's is kept wherever it is, and sidecars stay what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_photos import encoded, picture
from photo_metadata import metadata, needs_exiftool

from nima.xmp.packet import NEW_XMP, XmpError, property_values, rating_in, with_property
from nima.xmp.rating import PhotoRater, RatingResult
from nima.xmp.sidecars import SidecarStyle, sidecar_path

XAP = 'xmlns:xap="http://ns.adobe.com/xap/1.0/"'


def xmp(rating: int | str) -> bytes:
    return with_property(NEW_XMP, "Rating", str(rating))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Makes a photo without any metadata."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(picture(1, 30, 20), "JPEG"))
    return path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_sidecars_lie_where_each_program_looks() -> None:
    assert sidecar_path(Path("a/IMG.CR2"), "darktable") == Path("a/IMG.CR2.xmp")
    assert sidecar_path(Path("a/IMG.CR2"), "lightroom") == Path("a/IMG.xmp")


@pytest.mark.parametrize("style", ["darktable", "lightroom"])
def test_a_dry_run_tells_what_the_real_run_does(style: SidecarStyle, photo: Path) -> None:
    sidecar = sidecar_path(photo, style)
    rated = RatingResult(3, sidecar, kept=False)
    assert PhotoRater(style, dry_run=True).rate(photo, 3) == rated
    assert files(photo.parent) == {"photo.jpg"}
    assert PhotoRater(style).rate(photo, 3) == rated
    assert rating_in(sidecar.read_bytes()) == 3
    kept = RatingResult(3, sidecar, kept=True)
    assert PhotoRater(style, dry_run=True).rate(photo, 4) == PhotoRater(style).rate(photo, 4) == kept


@pytest.mark.parametrize("style", ["darktable", "lightroom"])
@pytest.mark.parametrize("place", ["photo.jpg", "photo.jpg.xmp", "photo.xmp"])
@pytest.mark.parametrize("rating", [-1, 1, 5])
def test_a_rating_of_a_person_is_kept_wherever_it_is(style: SidecarStyle, place: str, rating: int, photo: Path) -> None:
    path = photo.with_name(place)
    content = xmp(rating)
    path.write_bytes(photo.read_bytes() + content if path == photo else content)
    before = {name: photo.with_name(name).read_bytes() for name in files(photo.parent)}
    assert PhotoRater(style).rate(photo, 3) == RatingResult(rating, path, kept=True)
    assert {name: photo.with_name(name).read_bytes() for name in files(photo.parent)} == before


@pytest.mark.parametrize("place", ["photo.jpg", "photo.jpg.xmp", "photo.xmp"])
@pytest.mark.parametrize("rating", [-1, 1, 5])
def test_the_rating_that_would_be_kept_can_be_read(place: str, rating: int, photo: Path) -> None:
    path = photo.with_name(place)
    assert PhotoRater("darktable").rating_of(photo) is None
    path.write_bytes(photo.read_bytes() + xmp(rating) if path == photo else xmp(rating))
    assert PhotoRater("darktable").rating_of(photo) == rating
    counts_as_none = rating == 1 and path != photo
    assert PhotoRater("darktable", initial_rating=1).rating_of(photo) == (None if counts_as_none else rating)
    assert files(photo.parent) == {"photo.jpg", place}


def test_a_rating_that_is_to_be_replaced_is_replaced_in_both_sidecars(photo: Path) -> None:
    for style in ("darktable", "lightroom"):
        sidecar_path(photo, style).write_bytes(xmp(5))
    assert not PhotoRater("darktable", overwrite=True).rate(photo, 3).kept
    assert [rating_in(sidecar_path(photo, style).read_bytes()) for style in ("darktable", "lightroom")] == [3, 3]


def test_the_rating_that_a_program_gives_to_every_photo_can_count_as_none(photo: Path) -> None:
    sidecar = sidecar_path(photo, "darktable")
    sidecar.write_bytes(xmp(1))
    assert PhotoRater("darktable").rate(photo, 4).kept
    assert not PhotoRater("darktable", initial_rating=1).rate(photo, 4).kept
    assert property_values(sidecar.read_bytes(), "Rating") == ["4"]
    photo.write_bytes(photo.read_bytes() + xmp(1))  # inside the photo, a person has given it
    sidecar.unlink()
    assert PhotoRater("darktable", initial_rating=1).rate(photo, 4).kept


def test_photos_with_one_sidecar_name_do_not_share_it(photo: Path) -> None:
    other = photo.with_suffix(".png")
    other.write_bytes(encoded(picture(2, 30, 20), "PNG"))
    for dry_run in (True, False):
        for one, its_rival in ((photo, "photo.png"), (other, "photo.jpg")):
            with pytest.raises(XmpError, match=rf"{one.name}: photo\.xmp would be the sidecar of {its_rival}, too"):
                PhotoRater("lightroom", overwrite=True, dry_run=dry_run).rate(one, 4)
    assert files(photo.parent) == {"photo.jpg", "photo.png"}
    assert not PhotoRater("darktable").rate(photo, 4).kept
    assert not PhotoRater("darktable").rate(other, 2).kept


def test_a_sidecar_belongs_to_the_raw_file(photo: Path) -> None:
    raw = photo.with_suffix(".CR3")
    raw.write_bytes(b"no RAW file")
    assert PhotoRater("lightroom").rate(raw, 4) == RatingResult(4, photo.with_suffix(".xmp"), kept=False)
    with pytest.raises(XmpError, match=r"photo\.CR3, too"):
        PhotoRater("lightroom").rate(photo, 2)
    assert rating_in(photo.with_suffix(".xmp").read_bytes()) == 4
    assert not PhotoRater("darktable").rate(photo, 2).kept  # the rating of the RAW file is not the JPEG's


@pytest.mark.parametrize(
    ("text", "rating", "kept"),
    [
        (f"<rdf:Description {XAP}><xap:Rating><![CDATA[4]]></xap:Rating></rdf:Description>", 4, True),
        (f"<rdf:Description {XAP}><xap:Rating><!-- 5 -->0</xap:Rating></rdf:Description>", 2, False),
        (f"<rdf:Description {XAP}><xap:Rating/></rdf:Description>", 2, False),
        (f'<rdf:Description {XAP} xap:Rating="4"/><rdf:Description {XAP} xap:Rating="0"/>', 4, True),
        (f'<rdf:Description/><rdf:Description {XAP} xap:Rating="0"/>', 2, False),
    ],
)
@needs_exiftool
def test_exiftool_reads_one_rating_afterwards(text: str, rating: int, kept: bool, photo: Path) -> None:
    sidecar = sidecar_path(photo, "darktable")
    sidecar.write_bytes(NEW_XMP.replace(b'<rdf:Description rdf:about=""/>', text.encode()))
    assert PhotoRater("darktable").rate(photo, 2) == RatingResult(rating, sidecar, kept=kept)
    assert metadata(sidecar)["Rating"] == rating


def test_modes_and_links_of_sidecars_stay(photo: Path) -> None:
    target = photo.with_name("elsewhere")
    target.write_bytes(xmp(0))
    target.chmod(0o640)
    sidecar = sidecar_path(photo, "darktable")
    sidecar.symlink_to(target.name)
    assert not PhotoRater("darktable").rate(photo, 2).kept
    assert sidecar.is_symlink()
    assert rating_in(target.read_bytes()) == 2
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_link_in_a_circle_is_an_error(photo: Path) -> None:
    sidecar = sidecar_path(photo, "darktable")
    sidecar.symlink_to(sidecar.name)
    with pytest.raises(XmpError, match=r"photo\.jpg\.xmp"):
        PhotoRater("darktable").rate(photo, 2)
    assert sidecar.is_symlink()


@pytest.mark.parametrize("content", [b"", b"no xml", b" " * (16 << 20) + b" "])
@pytest.mark.parametrize("name", ["photo.jpg.xmp", "photo.xmp"])
def test_a_sidecar_that_is_none_stays_and_its_photo_is_not_rated(content: bytes, name: str, photo: Path) -> None:
    photo.with_name(name).write_bytes(content)
    with pytest.raises(XmpError, match=name):
        PhotoRater("darktable").rate(photo, 3)
    assert photo.with_name(name).read_bytes() == content
    assert files(photo.parent) == {"photo.jpg", name}
