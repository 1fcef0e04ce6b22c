"""Turns a photo into a network's input, by the `Preparation` that belongs to the weights, and that every use follows.

A photo is squeezed to a small square, the stored image, which is what shards hold. The network takes the middle of the
stored image, or, in training, any part of it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from nima.errors import NimaError
from nima.photos import AVA_LONG_SIDE

PREPARATION_REVISION = 3
"""A number that must be raised with every change of the preparation, so that no score in a cache is used after it."""

Part = Literal["crop", "whole"]
"""The part of a photo that a network sees; the text stands in the metadata of a checkpoint."""

_JPEG_QUALITY = 90
_LARGEST_SIDE = 1024  # largest side of a stored image, in pixels


class PreparationError(NimaError):
    """A stored image cannot be decoded or is too small, or this program does not know a preparation."""


@dataclass(frozen=True)
class Preparation:
    """The steps that turn a photo into a network's input.

    part: "crop" if the network sees the middle of a stored JPEG, as in NIMA; "whole" if it sees the whole photo, which
        is stored as a PNG, so that no pixel value changes.
    input_size: side of the square that the network takes, in pixels.
    crop_from: side of the square that crops are taken from, in pixels.
    resampling: the filter that resizes a photo to the stored size.
    mean, std: mean and standard deviation of the channels R, G, B, for pixels in 0..1; the network normalises with
        them.
    long_side: largest number of pixels of a photo's longer side; a larger photo is reduced to it when it is opened.
    """

    part: Part = "crop"
    input_size: int = 224
    crop_from: int = 256
    resampling: Resampling = Resampling.BILINEAR
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    long_side: int = AVA_LONG_SIDE

    @property
    def stored_size(self) -> int:
        """Returns the side of the stored image, in pixels."""
        return self.input_size if self.part == "whole" else self.crop_from

    def with_part(self, part: object) -> Preparation:
        """Returns the same preparation for a network that sees `part` of a photo.

        Raises `PreparationError` if this program does not know the part.
        """
        if part not in get_args(Part):
            raise PreparationError(
                f"Its photos must be prepared as {str(part)[:40]!r}, and this program knows only "
                f"{' and '.join(get_args(Part))}."
            )
        return replace(self, part=cast(Part, part))

    def store(self, photo: Image.Image) -> bytes:
        """Encodes an RGB photo as the image that shards hold: a JPEG of quality 90, or a PNG for the part "whole".

        The whole frame is kept, because a photo's composition is part of its rating; the aspect ratio is not kept.
        """
        file = io.BytesIO()
        if self.part == "whole":
            self._squeezed(photo).save(file, "PNG", compress_level=1)
        else:
            size = (self.crop_from, self.crop_from)
            photo.resize(size, self.resampling, reducing_gap=3.0).save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()

    def pixels(self, photo: Image.Image) -> Tensor:
        """Prepares an RGB photo: float32 `[3, input_size, input_size]` in 0..1.

        The result is the same as for a photo from a shard, so that a photo scores the same here and on providers.
        """
        if self.part == "whole":  # a PNG would give the same pixels, and take time
            return pixels_of(torch.from_numpy(np.array(self._squeezed(photo))))
        return self.central_crop(self.store(photo))

    def central_crop(self, stored: bytes) -> Tensor:
        """Cuts out the middle of a stored image: float32 `[3, input_size, input_size]` in 0..1.

        Raises `PreparationError` if the image cannot be decoded, or is smaller than the network's input.
        """
        image, size = self._decode(stored), self.input_size
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        return _to_pixels(image[top : top + size, left : left + size])

    def random_crop(self, stored: bytes, random: np.random.Generator) -> Tensor:
        """Cuts out a random square, and mirrors it with probability 1/2; result and errors as for `central_crop`."""
        image, size = self._decode(stored), self.input_size
        top = random.integers(image.shape[0] - size + 1)
        left = random.integers(image.shape[1] - size + 1)
        crop = image[top : top + size, left : left + size]
        return _to_pixels(crop[:, ::-1] if random.integers(2) else crop)

    def central_crops(self, stored: Sequence[bytes]) -> Tensor:
        """Does `central_crop` for one image or more: a batch, float32 `[B, 3, input_size, input_size]`."""
        return torch.stack([self.central_crop(image) for image in stored])

    def random_crops(self, stored: Sequence[bytes], random: np.random.Generator) -> Tensor:
        """Does `random_crop` for one image or more: a batch, float32 `[B, 3, input_size, input_size]`."""
        return torch.stack([self.random_crop(image, random) for image in stored])

    def describe(self) -> str:
        """Describes in one line how to make the network's input from a photo, for people who use another program."""
        side, resampling = self.input_size, self.resampling.name.lower()
        first = (
            f"RGB, upright, 8 bits; if the longer side has more than {self.long_side} pixels, reduced to that (Lanczos)"
        )
        if self.part == "whole":
            return f"{first}; the whole frame squeezed to {side} x {side} ({resampling})"
        return (
            f"{first}; the whole frame squeezed to {self.crop_from} x {self.crop_from} ({resampling}, antialiased), "
            f"JPEG quality {_JPEG_QUALITY}, its middle {side} x {side}"
        )

    def _squeezed(self, photo: Image.Image) -> Image.Image:
        return photo.resize((self.input_size, self.input_size), self.resampling)

    def _decode(self, stored: bytes) -> NDArray[np.uint8]:
        image = decode_image(stored)
        if min(image.shape[:2]) < self.input_size:
            raise PreparationError(
                f"An image of {image.shape[1]} × {image.shape[0]} pixels is too small for this backbone, which "
                f"needs {self.input_size}: the shards were made for another one."
            )
        return image


def decode_image(stored: bytes) -> NDArray[np.uint8]:
    """Decodes a stored image to RGB bytes uint8 `[H, W, 3]`.

    Raises `PreparationError` if it is no JPEG or PNG of at most 1024 × 1024 pixels.
    """
    try:
        with Image.open(io.BytesIO(stored), formats=["JPEG", "PNG"]) as image:
            if max(image.size) > _LARGEST_SIDE:
                raise PreparationError(f"An image of the shard is {image.width} × {image.height} pixels large.")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PreparationError(f"An image of the shard could not be decoded ({error}).") from error


def pixels_of(images: Tensor) -> Tensor:
    """Turns RGB bytes into pixels as networks take them: uint8 `[..., H, W, 3]` → float32 `[..., 3, H, W]` in 0..1."""
    return images.movedim(-1, -3).float().div(255)


def rgb_bytes_of(pixels: Tensor) -> Tensor:
    """Undoes `pixels_of`: float32 `[..., 3, H, W]` in 0..1 → uint8 `[..., H, W, 3]`."""
    return pixels.mul(255).round().byte().movedim(-3, -1).contiguous()


def _to_pixels(image: NDArray[np.uint8]) -> Tensor:
    return pixels_of(torch.from_numpy(np.array(image, order="C")))
