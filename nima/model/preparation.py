"""How a photo becomes a network's input: one value, which belongs to the weights and which every use of a photo asks.

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
"""To be raised with every change of what a photo goes through, so that no cache keeps older scores."""

Part = Literal["crop", "whole"]
"""Which part of a photo a network sees; the text stands in the metadata of a checkpoint."""

_JPEG_QUALITY = 90
_LARGEST_SIDE = 1024  # of a stored image, in pixels


class PreparationError(NimaError):
    """A stored image that cannot be decoded or is too small, or a preparation that this program does not know."""


@dataclass(frozen=True)
class Preparation:
    """What a photo goes through before a network sees it.

    part: "crop": the network sees the middle of a stored JPEG, as NIMA does; "whole": it sees the whole photo, which is
        stored as a PNG, so that no digit is lost.
    input_size: side of the square that the network takes, in pixels.
    crop_from: side of the square that crops are taken from, in pixels.
    resampling: how a photo is brought to the stored size.
    mean, std: of the channels R, G, B, for pixels in 0..1; the network normalises with them.
    long_side: a photo whose longer side has more pixels is reduced to so many first, when it is opened.
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
        """Side of the stored image, in pixels."""
        return self.input_size if self.part == "whole" else self.crop_from

    def with_part(self, part: object) -> Preparation:
        """Returns the same preparation for a network that sees `part` of a photo.

        Raises `PreparationError` where this program knows no such part.
        """
        if part not in get_args(Part):
            raise PreparationError(
                f"Its photos must be prepared as {str(part)[:40]!r}, and this program knows only "
                f"{' and '.join(get_args(Part))}."
            )
        return replace(self, part=cast(Part, part))

    def store(self, photo: Image.Image) -> bytes:
        """Encodes an RGB photo as the image that shards hold.

        The whole frame is kept, as a photo's composition is part of its rating; the aspect ratio is not.
        """
        file = io.BytesIO()
        if self.part == "whole":
            self._squeezed(photo).save(file, "PNG", compress_level=1)
        else:
            size = (self.crop_from, self.crop_from)
            photo.resize(size, self.resampling, reducing_gap=3.0).save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()

    def pixels(self, photo: Image.Image) -> Tensor:
        """Prepares an RGB photo as if it came out of a shard, so that the same photo scores the same here and on
        providers: float32 `[3, input_size, input_size]` in 0..1."""
        if self.part == "whole":  # a PNG would only take time
            return pixels_of(torch.from_numpy(np.array(self._squeezed(photo))))
        return self.central_crop(self.store(photo))

    def central_crop(self, stored: bytes) -> Tensor:
        """Cuts out the middle of a stored image: float32 `[3, input_size, input_size]` in 0..1.

        Raises `PreparationError` where the image cannot be decoded, or is smaller than the network's input.
        """
        image, size = self._decode(stored), self.input_size
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        return _to_pixels(image[top : top + size, left : left + size])

    def random_crop(self, stored: bytes, random: np.random.Generator) -> Tensor:
        """As `central_crop`, but from anywhere in the image, and mirrored every other time."""
        image, size = self._decode(stored), self.input_size
        top = random.integers(image.shape[0] - size + 1)
        left = random.integers(image.shape[1] - size + 1)
        crop = image[top : top + size, left : left + size]
        return _to_pixels(crop[:, ::-1] if random.integers(2) else crop)

    def central_crops(self, stored: Sequence[bytes]) -> Tensor:
        """`central_crop` of one image or more, as a batch `[B, 3, input_size, input_size]`."""
        return torch.stack([self.central_crop(image) for image in stored])

    def random_crops(self, stored: Sequence[bytes], random: np.random.Generator) -> Tensor:
        """`random_crop` of one image or more, as a batch `[B, 3, input_size, input_size]`."""
        return torch.stack([self.random_crop(image, random) for image in stored])

    def describe(self) -> str:
        """Says in one line what must be done to a photo to get the network's input, for those who use another
        program."""
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
    """Turns RGB bytes into what networks take: uint8 `[..., H, W, 3]` → float32 `[..., 3, H, W]` in 0..1."""
    return images.movedim(-1, -3).float().div(255)


def rgb_bytes_of(pixels: Tensor) -> Tensor:
    """Undoes `pixels_of`: float32 `[..., 3, H, W]` in 0..1 → uint8 `[..., H, W, 3]`."""
    return pixels.mul(255).round().byte().movedim(-3, -1).contiguous()


def _to_pixels(image: NDArray[np.uint8]) -> Tensor:
    return pixels_of(torch.from_numpy(np.array(image, order="C")))
