"""Turns a photo into a network's input, by the `Preparation` that belongs to the weights, and that every use follows.

A photo is squeezed to a small square. The network takes the middle of the square or, in training, any part of it.
Shards hold the square, or its middle alone, as an encoded image: the stored image.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from nima.errors import NimaError
from nima.photos import AVA_LONG_SIDE

if TYPE_CHECKING:
    from torch import Tensor

PREPARATION_REVISION = 4
"""A number that must be raised with every change of the preparation, so that no score in a cache is used after it."""

GRAPH_INPUT = "photos"
"""Name of an exported graph's input: uint8 `[B, side, side, 3]`, RGB."""

GRAPH_OUTPUTS = ("probabilities", "score")
"""Names of an exported graph's outputs: float32 `[B, 10]` and `[B]`."""

Part = Literal["middle", "crop", "whole"]
"""The part of a photo that a network sees; the text stands in the metadata of a checkpoint."""

_JPEG_QUALITY = 90
# The middle takes 0.65 of the bytes of the square as a JPEG of quality 90, and changes the features by 0.98 of what the
# JPEG changes them by (`scripts/benchmarks/photo_encodings.py`, docs/costs.md). Method 2 takes half the time of method
# 4, Pillow's own, for 2% more bytes: two cores encode more than 20 Mbit/s.
_WEBP = {"quality": 90, "method": 2}
_LARGEST_SIDE = 1024  # largest side of a stored image, in pixels
_FORMATS = ("JPEG", "PNG", "WEBP")


class PreparationError(NimaError):
    """A stored image cannot be decoded or is too small, or this program does not know a preparation."""


@dataclass(frozen=True)
class Preparation:
    """The steps that turn a photo into a network's input.

    part: "middle" if the network sees the middle of the square, which shards hold as a WebP; "crop" if it sees the
        middle of a JPEG of the square, as models of earlier versions do; "whole" if it sees the whole square, which
        shards hold as a PNG, so that no pixel value changes.
    input_size: side of the square that the network takes, in pixels.
    crop_from: side of the square that crops are taken from, in pixels.
    resampling: the filter that resizes a photo to the stored size.
    mean, std: mean and standard deviation of the channels R, G, B, for pixels in 0..1; the network normalises with
        them.
    long_side: largest number of pixels of a photo's longer side; a larger photo is reduced to it when it is opened.
    """

    part: Part = "middle"
    input_size: int = 224
    crop_from: int = 256
    resampling: Resampling = Resampling.BILINEAR
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    long_side: int = AVA_LONG_SIDE

    @property
    def stored_size(self) -> int:
        """Returns the side of a stored image from which no random crops are taken, in pixels."""
        return self.crop_from if self.part == "crop" else self.input_size

    def with_part(self, part: object) -> Preparation:
        """Returns the same preparation for a network that sees `part` of a photo.

        Raises `PreparationError` if this program does not know the part.
        """
        if part not in get_args(Part):
            raise PreparationError(
                f"Its photos must be prepared as {str(part)[:40]!r}, and this program knows only "
                f"{', '.join(get_args(Part))}."
            )
        return replace(self, part=cast(Part, part))

    def store(self, photo: Image.Image, *, random_crops: bool = False) -> bytes:
        """Encodes an RGB photo as the image that shards hold, without the metadata of its file.

        The whole frame is kept, because a photo's composition is part of its rating; the aspect ratio is not kept. The
        image is a WebP of the middle, a JPEG of the square, or a PNG of the whole square, as `part` says.

        Args:
            photo: the photo.
            random_crops: True if `random_crop` has to find more than the middle in the image.
        """
        file, square = io.BytesIO(), self._square(photo)
        if self.part == "whole":
            square.save(file, "PNG", compress_level=1)
        elif self.part == "crop":
            square.save(file, "JPEG", quality=_JPEG_QUALITY)
        else:
            (square if random_crops else self._middle(square)).save(file, "WEBP", **_WEBP)
        return file.getvalue()

    def rgb_bytes(self, photo: Image.Image) -> NDArray[np.uint8]:
        """Prepares an RGB photo: uint8 `[input_size, input_size, 3]`.

        Providers see the stored image. For the part "middle", its encoding changes the features by less than the JPEG
        of the part "crop" does; for the other parts, the pixels here and there are equal.
        """
        if self.part == "crop":
            return self._central_bytes(self.store(photo))
        square = self._square(photo)
        return np.asarray(self._middle(square) if self.part == "middle" else square)

    def central_crop(self, stored: bytes) -> Tensor:
        """Cuts out the middle of a stored image: float32 `[3, input_size, input_size]` in 0..1.

        Raises `PreparationError` if the image cannot be decoded, or is smaller than the network's input.
        """
        return _to_pixels(self._central_bytes(stored))

    def random_crop(self, stored: bytes, random: np.random.Generator) -> Tensor:
        """Cuts out a random square, and mirrors it with probability 1/2; result and errors as for `central_crop`."""
        image, size = self._decode(stored), self.input_size
        top = random.integers(image.shape[0] - size + 1)
        left = random.integers(image.shape[1] - size + 1)
        crop = image[top : top + size, left : left + size]
        return _to_pixels(crop[:, ::-1] if random.integers(2) else crop)

    def central_crops(self, stored: Sequence[bytes]) -> Tensor:
        """Does `central_crop` for one image or more: a batch, float32 `[B, 3, input_size, input_size]`."""
        return _stacked([self.central_crop(image) for image in stored])

    def random_crops(self, stored: Sequence[bytes], random: np.random.Generator) -> Tensor:
        """Does `random_crop` for one image or more: a batch, float32 `[B, 3, input_size, input_size]`."""
        return _stacked([self.random_crop(image, random) for image in stored])

    def describe(self) -> str:
        """Describes in one line how to make the network's input from a photo, for people who use another program."""
        side, resampling = self.input_size, self.resampling.name.lower()
        first = (
            f"RGB, upright, 8 bits; if the longer side has more than {self.long_side} pixels, reduced to that (Lanczos)"
        )
        if self.part == "whole":
            return f"{first}; the whole frame squeezed to {side} x {side} ({resampling})"
        encoding = f"JPEG quality {_JPEG_QUALITY}, " if self.part == "crop" else ""
        return (
            f"{first}; the whole frame squeezed to {self.crop_from} x {self.crop_from} ({resampling}, antialiased), "
            f"{encoding}its middle {side} x {side}"
        )

    def _square(self, photo: Image.Image) -> Image.Image:
        """Squeezes a photo to the square, which has none of the metadata that Pillow would write with an image."""
        if self.part == "whole":
            square = photo.resize((self.input_size, self.input_size), self.resampling)
        else:
            square = photo.resize((self.crop_from, self.crop_from), self.resampling, reducing_gap=3.0)
        square.info.clear()
        return square

    def _middle(self, square: Image.Image) -> Image.Image:
        start = (self.crop_from - self.input_size) // 2
        return square.crop((start, start, start + self.input_size, start + self.input_size))

    def _central_bytes(self, stored: bytes) -> NDArray[np.uint8]:
        image, size = self._decode(stored), self.input_size
        top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        return image[top : top + size, left : left + size]

    def _decode(self, stored: bytes) -> NDArray[np.uint8]:
        image = decode_image(stored)
        if min(image.shape[:2]) < self.input_size:
            raise PreparationError(
                f"An image of {image.shape[1]} × {image.shape[0]} pixels is too small for this backbone, which "
                f"needs {self.input_size}: the shards were made for another one."
            )
        return image


PREPARATIONS = {
    **dict.fromkeys(
        (
            "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "vgg16", "vgg16_maps", "resnet18",
            "resnet50", "convnext_tiny", "vit_b_16", "squeezenet1_1", "shufflenet_v2",
        ),
        Preparation(),
    ),
    # Its weights were trained with this preparation, in Keras.
    "mobilenet_v1": Preparation(resampling=Resampling.NEAREST, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    # Its weights come from TensorFlow, where pixels were scaled to -1..1.
    "inception_v3": Preparation(input_size=299, crop_from=342, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "efficientnet_b0": Preparation(resampling=Resampling.BICUBIC),
    "efficientnet_v2_s": Preparation(input_size=384, crop_from=432),
    "swin_t": Preparation(resampling=Resampling.BICUBIC),
}  # fmt: skip
"""The preparation of each backbone, by its name; a checkpoint can name another part of the photo."""


def decode_image(stored: bytes) -> NDArray[np.uint8]:
    """Decodes a stored image to RGB bytes uint8 `[H, W, 3]`.

    Raises `PreparationError` if it is no JPEG, PNG or plain lossy WebP of at most 1024 × 1024 pixels. The size is
    checked before any pixel is decoded.
    """
    try:
        if stored.startswith(b"RIFF"):
            _check_size(*_webp_size(stored))  # Pillow reserves memory for a WebP's pixels when it opens the file
        with Image.open(io.BytesIO(stored), formats=_FORMATS) as image:
            _check_size(*image.size)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PreparationError(f"An image of the shard could not be decoded ({error}).") from error


def pixels_of(images: Tensor) -> Tensor:
    """Turns RGB bytes into pixels as networks take them: uint8 `[..., H, W, 3]` → float32 `[..., 3, H, W]` in 0..1."""
    return images.movedim(-1, -3).float().div(255)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > _LARGEST_SIDE:
        raise PreparationError(f"An image of the shard is {width} × {height} pixels large.")


def _webp_size(stored: bytes) -> tuple[int, int]:
    """Reads width and height of a WebP in pixels: from the header of its only frame (RFC 9649 section 2.5, RFC 6386).

    Raises `PreparationError` if the file is of the extended format, which has animations, or losslessly encoded.
    """
    if stored[8:16] != b"WEBPVP8 " or len(stored) < 30:
        raise PreparationError("An image of the shard is no plain lossy WebP.")
    width, height = struct.unpack_from("<HH", stored, 26)
    return width & 0x3FFF, height & 0x3FFF  # the upper two bits are a scale, which decoders ignore


# torch is imported in these functions alone, as scoring with ONNX Runtime needs the rest of this module without torch.


def _stacked(pixels: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(pixels))


def _to_pixels(image: NDArray[np.uint8]) -> Tensor:
    import torch

    return pixels_of(torch.from_numpy(np.array(image, order="C")))
