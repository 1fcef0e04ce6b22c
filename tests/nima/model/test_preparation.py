"""Compares the preparation of a photo, bit by bit, with a second one that is written out step by step."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_photos import encoded, picture, shard
from PIL import Image
from PIL.Image import Resampling
from spread_model import keep_scale

from nima.model import checkpoint
from nima.model.backbones import BACKBONES, find_backbone
from nima.model.network import Nima, initial_model
from nima.model.preparation import PREPARATIONS, Preparation, PreparationError, decode_image, pixels_of
from nima.scoring.scorer import Scorer
from nima.training.loop import predict
from nima.wire.shards import read_shard, write_shard

# backbone → side of the input, side that crops come from, how a photo is resized
SIDES = {
    "mobilenet_v1": (224, 256, Resampling.NEAREST),
    "mobilenet_v3_small": (224, 256, Resampling.BILINEAR),
    "efficientnet_b0": (224, 256, Resampling.BICUBIC),
    "inception_v3": (299, 342, Resampling.BILINEAR),
    "efficientnet_v2_s": (384, 432, Resampling.BILINEAR),
}
PHOTOS = [picture(0), picture(1, 1200, 900), picture(2, 100, 700), picture(3, 20, 30)]


def as_pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)


@pytest.mark.parametrize("backbone", SIDES)
def test_the_network_sees_the_middle_of_a_squeezed_photo(backbone: str) -> None:
    side, square_side, resampling = SIDES[backbone]
    preparation, margin = find_backbone(backbone).preparation, (square_side - side) // 2
    for photo in PHOTOS:
        square = photo.resize((square_side, square_side), resampling, reducing_gap=3.0)
        middle = square.crop((margin, margin, margin + side, margin + side))
        assert torch.equal(pixels_of(torch.from_numpy(preparation.rgb_bytes(photo).copy())), as_pixels(middle))
        for random_crops, sent in ((False, middle), (True, square)):
            file = io.BytesIO()
            sent.save(file, "WEBP", quality=90, method=2)
            stored = preparation.store(photo, random_crops=random_crops)
            assert stored == file.getvalue()
            decoded = as_pixels(Image.open(file))
            start = 0 if sent is middle else margin
            expected = decoded[:, start : start + side, start : start + side]
            assert torch.equal(preparation.central_crop(stored), expected)


def test_a_stored_photo_shows_what_is_seen_here_nearly_exactly() -> None:
    preparation = Preparation()
    for photo in PHOTOS:
        for random_crops in (False, True):
            seen = preparation.central_crop(preparation.store(photo, random_crops=random_crops))
            assert (seen - pixels_of(torch.from_numpy(preparation.rgb_bytes(photo).copy()))).abs().mean() < 0.01


@pytest.mark.parametrize("part", ["middle", "crop", "whole"])
def test_stored_photos_hold_nothing_of_their_files_metadata(part: str) -> None:
    preparation, photo = Preparation().with_part(part), picture(0)
    plain = preparation.store(photo)
    photo.info |= {"exif": b"Exif\0\0place", "icc_profile": b"profile", "xmp": b"<author/>", "comment": b"comment"}
    assert preparation.store(photo) == plain


@pytest.mark.parametrize("backbone", SIDES)
def test_a_network_of_earlier_versions_sees_the_middle_of_a_squeezed_jpeg(backbone: str) -> None:
    side, stored_side, resampling = SIDES[backbone]
    preparation, margin = find_backbone(backbone).preparation.with_part("crop"), (stored_side - side) // 2
    for photo in PHOTOS:
        file = io.BytesIO()
        photo.resize((stored_side, stored_side), resampling, reducing_gap=3.0).save(file, "JPEG", quality=90)
        stored = preparation.store(photo)
        assert stored == file.getvalue()
        expected = as_pixels(Image.open(file).crop((margin, margin, margin + side, margin + side)))
        assert torch.equal(preparation.central_crop(stored), expected)
        assert torch.equal(pixels_of(torch.from_numpy(preparation.rgb_bytes(photo).copy())), expected)


@pytest.mark.parametrize("backbone", SIDES)
def test_a_network_that_sees_whole_photos_gets_them_without_losing_a_digit(backbone: str, tmp_path: Path) -> None:
    side, _, resampling = SIDES[backbone]
    preparation = find_backbone(backbone).preparation.with_part("whole")
    for photo in PHOTOS:
        expected = as_pixels(photo.resize((side, side), resampling))
        info = write_shard(tmp_path, [1], None, [preparation.store(photo)])
        assert torch.equal(preparation.central_crop(read_shard(info.path).jpegs[0]), expected)
        assert torch.equal(pixels_of(torch.from_numpy(preparation.rgb_bytes(photo).copy())), expected)


@pytest.mark.parametrize("part", ["middle", "crop", "whole"])
def test_the_preparation_travels_with_the_weights(part: str, tmp_path: Path) -> None:
    network = initial_model("mobilenet_v3_small", None, seed=0)
    network.preparation = network.preparation.with_part(part)
    photos = [picture(seed) for seed in range(4)]  # none is so large that it is reduced when it is opened
    arrays = [torch.from_numpy(network.preparation.rgb_bytes(photo).copy()) for photo in photos]
    pixels = pixels_of(torch.stack(arrays))
    keep_scale(network, pixels)
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, network, {})
    loaded, metadata = checkpoint.load(path)
    assert loaded.preparation == network.preparation
    # As files of earlier versions have it.
    assert metadata == ({} if part == "crop" else {"preparation": part})
    with torch.inference_mode():
        expected = network(pixels).softmax(dim=1).numpy()
    found = [score.probabilities for score in Scorer(path, device="cpu").score(photos)]
    np.testing.assert_allclose(np.array(found), expected, rtol=0, atol=1e-5)
    assert expected.std(axis=0).max() > 1e-3  # the photos differ by far more than the tolerance


def test_a_model_with_an_unknown_preparation_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, network = tmp_path / "model.safetensors", Nima("mobilenet_v3_small")
    network.preparation = dataclasses.replace(network.preparation, part="left half")  # type: ignore[arg-type]
    checkpoint.save(path, network, {})
    with pytest.raises(checkpoint.CheckpointError, match=r"later version .* 'left half'.* only middle, crop, whole"):
        checkpoint.load(path)


def test_metadata_that_contradict_the_model_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'whole', the model has 'middle'"):
        checkpoint.save(tmp_path / "model.safetensors", Nima("mobilenet_v3_small"), {"preparation": "whole"})


def test_the_aspect_ratio_is_lost_and_the_frame_is_not() -> None:
    photo = Image.new("RGB", (800, 400), "white")
    photo.paste("black", (400, 0, 800, 400))
    image = decode_image(Preparation().store(photo, random_crops=True))
    assert image.shape == (256, 256, 3)
    assert image[:, :120].min() > 245
    assert image[:, 136:].max() < 10


def test_random_crops_are_parts_of_the_image_and_their_mirror_images() -> None:
    stored = Preparation().store(picture(0), random_crops=True)
    whole = Preparation(input_size=256).central_crop(stored)
    assert torch.equal(Preparation().central_crop(stored), whole[:, 16:240, 16:240])
    corner = Preparation(input_size=255).random_crop(stored, np.random.default_rng(1))
    parts = [whole[:, top : top + 255, left : left + 255] for top in (0, 1) for left in (0, 1)]
    assert any(torch.equal(corner, view) for part in parts for view in (part, part.flip(2)))


def test_every_backbone_has_its_preparation_in_the_table_that_needs_no_torch() -> None:
    assert {name: backbone.preparation for name, backbone in BACKBONES.items()} == PREPARATIONS


def test_random_crops_differ_in_place_and_direction() -> None:
    stored = Preparation().store(picture(0), random_crops=True)
    crops = Preparation().random_crops([stored] * 20, np.random.default_rng(0))
    assert len({crop.numpy().tobytes() for crop in crops}) > 15


def test_pixels_are_bytes_scaled_to_one() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(6).view(2, 16, 16, 3)
    pixels = pixels_of(images)
    assert pixels.shape == (2, 3, 16, 16)
    assert (pixels.min().item(), pixels.max().item()) == (0, 1)
    assert torch.equal(pixels.mul(255).round().byte().movedim(-3, -1), images)


@pytest.mark.parametrize(
    "stored",
    [
        encoded(picture(0), "GIF"),
        encoded(Image.new("RGB", (1025, 8)), "JPEG"),
        encoded(Image.new("RGB", (8, 1025)), "WEBP"),
        Preparation().store(picture(0))[:900],
        Preparation().store(picture(0))[:26] + b"\xff\x3f\xff\x3f" + Preparation().store(picture(0))[30:],
        encoded(Image.new("RGBA", (8, 8)), "WEBP"),
        encoded(picture(0), "AVIF"),
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBPVP8 ",
    ],
    ids=["gif", "large jpeg", "large webp", "cut off", "false size", "webp with alpha", "avif", "start", "webp start"],
)
def test_images_that_are_not_what_they_should_be_are_refused(stored: bytes) -> None:
    with pytest.raises(PreparationError, match="image of the shard"):
        decode_image(stored)


def test_a_grey_jpeg_is_decoded_to_three_channels() -> None:
    assert decode_image(encoded(picture(0).convert("L"), "JPEG")).shape == (200, 300, 3)


def test_images_made_for_a_smaller_backbone_are_refused() -> None:
    with pytest.raises(PreparationError, match="too small for this backbone"):
        predict(Nima("mobilenet_v3_small"), shard(1, size=200).jpegs)
