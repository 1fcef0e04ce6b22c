"""Rare kinds of photos come out right, or are named as what they are."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import picture
from drawn_profiles import WIDE_RGB
from numpy.typing import NDArray
from PIL import Image, ImageFile

from nima.photos.formats import PHOTO_SUFFIXES, PhotoError
from nima.photos.reading import open_photo, read_photo

PICTURE = picture(5, 96, 64)
DETAILED = Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8)).resize((512, 384))
CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "photos"


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels(source: bytes | Path | Image.Image) -> NDArray[np.int16]:
    return np.asarray(open_photo(source)).astype(np.int16)


def tiff(*pages: tuple[NDArray[np.generic], int], order: str = "<", planar: bool = False) -> bytes:
    """Writes an uncompressed TIFF; each page is `[H, W, 3]` with its NewSubfileType."""
    file = bytearray((b"II*\0" if order == "<" else b"MM\0*") + b"\0" * 4)
    link = 4
    for values, subfile in pages:
        height, width, channels = values.shape
        planes = list(np.moveaxis(values, 2, 0)) if planar else [values]
        strips = [np.ascontiguousarray(plane).astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
        starts = [len(file) + sum(map(len, strips[:index])) for index in range(len(strips))]
        file += b"".join(strips)
        lists = {
            258: ("H", [8 * values.dtype.itemsize] * channels),
            273: ("I", starts),
            279: ("I", [len(strip) for strip in strips]),
            339: ("H", [3 if values.dtype.kind == "f" else 1] * channels),
        }
        single = {254: subfile, 256: width, 257: height, 259: 1, 262: 2, 277: channels, 278: height}
        entries = {tag: ("I", [value]) for tag, value in single.items()} | lists | {284: ("H", [2 if planar else 1])}
        directory = struct.pack(f"{order}H", len(entries))
        for tag, (kind, numbers) in sorted(entries.items()):
            content = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
            if len(content) > 4:
                place = len(file)
                file += content + b"\0" * (len(content) % 2)
                content = struct.pack(f"{order}I", place)
            directory += struct.pack(f"{order}HHI", tag, 3 if kind == "H" else 4, len(numbers)) + content.ljust(
                4, b"\0"
            )
        file[link : link + 4] = struct.pack(f"{order}I", len(file))
        link = len(file) + len(directory)
        file += directory + b"\0" * 4
    return bytes(file)


def deep() -> NDArray[np.uint16]:
    """Returns the picture with 16 bits a channel, whose lower bytes are not zero."""
    return np.asarray(PICTURE).astype(np.uint16) * 256 + 77


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [True, False])
def test_a_tiff_of_16_bits_a_channel_has_its_upper_bytes(order: str, planar: bool, tmp_path: Path) -> None:
    file = tmp_path / "deep.tif"
    file.write_bytes(tiff((deep(), 0), order=order, planar=planar))
    assert np.abs(pixels(file) - np.asarray(PICTURE)).max() <= 1
    assert (pixels(file.read_bytes()) == pixels(file)).all()


def test_a_reduced_page_is_not_taken_for_the_photo() -> None:
    stamp = np.asarray(PICTURE.resize((12, 8)))
    photo = read_photo(tiff((stamp, 1), (stamp, 1), (np.asarray(PICTURE), 0)))
    assert (photo.width, photo.height) == PICTURE.size
    assert (np.asarray(photo.image) == np.asarray(PICTURE)).all()
    assert open_photo(tiff((np.asarray(PICTURE), 0), (stamp, 0))).size == PICTURE.size
    assert open_photo(tiff((stamp, 1), (stamp, 1))).size == (12, 8)  # there is no other


@pytest.mark.parametrize("compatible", [b"mif1avifmiaf", b"avifmif1"])
def test_an_avif_is_known_by_any_of_its_brands(compatible: bytes) -> None:
    avif = saved(PICTURE, "AVIF", quality=90)
    end = int.from_bytes(avif[:4], "big")
    # The boxes' offsets stay true, as the new brands take the place of the old ones.
    brands = (2 * compatible)[: end - 16]
    branded = avif[:8] + b"mif1" + avif[12:16] + brands + avif[end:]
    assert (pixels(branded) == pixels(avif)).all()


def test_the_suffixes_of_cameras_and_programs_are_known() -> None:
    assert {".hif", ".jfif", ".jpe", ".heics", ".pnm", ".apng", ".gpr", ".rwl", ".sr2", ".mrw"} <= PHOTO_SUFFIXES


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (saved(PICTURE, "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "a JPEG with 12 bits a channel"),
        (saved(PICTURE, "JPEG").replace(b"\xff\xc0", b"\xff\xc3"), "a lossless JPEG"),
        (saved(PICTURE, "JPEG").replace(b"\xff\xc0", b"\xff\xcb"), "an arithmetic-coded JPEG"),
        (tiff((np.asarray(PICTURE).astype(np.float32) / 255, 0)), "a TIFF of 32-bit floating-point numbers"),
        (tiff((np.asarray(PICTURE).astype(np.float16) / 255, 0)), "a TIFF of 16-bit floating-point numbers"),
        (tiff((np.asarray(PICTURE).astype(np.uint32), 0)), "a TIFF of 3 channels with 32 bits each"),
        (b"\xff\x0a" + b"\0" * 50, "a JPEG XL"),
    ],
)
def test_what_cannot_be_read_is_named(file: bytes, kind: str) -> None:
    with pytest.raises(PhotoError, match=f"this is {kind}.*cannot be read here"):
        open_photo(file)


def test_a_png_with_a_huge_profile_has_its_pixels() -> None:
    noise = np.random.default_rng(0).bytes(3 << 20)
    assert (pixels(saved(PICTURE, "PNG", icc_profile=WIDE_RGB + noise)) == np.asarray(PICTURE)).all()


# Large photos


def tall_jpeg(width: int, rows: int, **options: object) -> bytes:
    """Builds a JPEG of `rows` times the same 16 rows of pixels, without encoding all of them."""
    strip = picture(2, width, 16)
    file = saved(strip, "JPEG", restart_marker_rows=1, **options)
    header_end = file.index(b"\xff\xda") + 14
    frame = file.index(b"\xff\xc0")
    header = bytearray(file[:header_end])
    header[frame + 5 : frame + 7] = struct.pack(">H", 16 * rows)
    data = file[header_end:-2]
    body = b"".join(data + bytes([0xFF, 0xD0 + row % 8]) for row in range(rows - 1)) + data
    return bytes(header) + body + b"\xff\xd9"


@pytest.mark.parametrize(("width", "rows"), [(16_320, 765), (48_000, 500)], ids=["phone", "panorama"])
def test_a_jpeg_may_have_as_many_pixels_as_its_reduced_decoding_bears(width: int, rows: int) -> None:
    file = tall_jpeg(width, rows)
    photo = read_photo(file, long_side=800)
    assert (photo.width, photo.height) == (width, 16 * rows)
    assert max(photo.image.size) == 800
    with pytest.raises(PhotoError, match="more than 179 megapixels"):
        open_photo(file)


def test_a_progressive_jpeg_counts_with_its_coefficients() -> None:
    small = saved(PICTURE, "JPEG", progressive=True, subsampling=0)
    frame = small.index(b"\xff\xc2") + 5
    large = small[:frame] + struct.pack(">HH", 12_000, 16_000) + small[frame + 4 :]
    with pytest.raises(PhotoError, match="more than 179 megapixels"):
        open_photo(large, long_side=800)


def test_a_jpeg_in_scans_of_single_channels_counts_with_its_coefficients() -> None:
    file = saved(PICTURE, "JPEG", subsampling=0)
    frame, scan = file.index(b"\xff\xc0") + 5, file.index(b"\xff\xda")
    first_scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + file[scan + 14 :]
    large = file[:frame] + struct.pack(">HH", 12_000, 16_000) + file[frame + 4 : scan] + first_scan
    with pytest.raises(PhotoError, match="more than 179 megapixels"):
        open_photo(large, long_side=800)


# A missing end

WAYS = [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 5}]


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("long_side", [None, 100])
def test_a_jpeg_without_its_end_marker_is_the_same_photo(options: dict[str, object], long_side: int | None) -> None:
    file = saved(DETAILED, "JPEG", quality=90, **options)
    for missing in (1, 2):
        photo = np.asarray(open_photo(file[:-missing], long_side))
        assert (photo == np.asarray(open_photo(file, long_side))).all()


@pytest.mark.parametrize("options", WAYS, ids=str)
@pytest.mark.parametrize("share", [0.95, 0.8, 0.6, 0.5, 0.3, 0.1])
def test_a_jpeg_that_lacks_a_part_is_damaged(options: dict[str, object], share: float) -> None:
    file = saved(DETAILED, "JPEG", quality=90, **options)
    for cut in (0, 7, 50):
        with pytest.raises(PhotoError, match="damaged"):
            open_photo(file[: int(share * len(file)) + cut])


def test_a_jpeg_that_ends_between_restarts_is_damaged() -> None:
    file = saved(DETAILED, "JPEG", quality=90, restart_marker_rows=1)
    ends = [at for at in range(len(file) // 4, 3 * len(file) // 4) if file[at] == 0xFF and 0xD0 <= file[at + 1] <= 0xD7]
    assert len(ends) > 5
    for end in ends:
        with pytest.raises(PhotoError, match="damaged"):
            open_photo(file[:end])


def test_pillow_is_left_as_strict_as_it_was() -> None:
    open_photo(saved(PICTURE, "JPEG")[:-2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("planar16.tif", "reference.png"),
        ("thumbnail_first.tif", "reference.png"),
        ("brand_mif1.avif", "plain.avif"),
        ("no_end_marker.jpg", "plain.jpg"),
    ],
)
def test_shared_cases_have_the_pixels_of_their_twin(name: str, same: str) -> None:
    assert (pixels(CASES / name) == pixels(CASES / same)).all()
