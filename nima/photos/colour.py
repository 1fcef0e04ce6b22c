"""Converts colours to sRGB, as the ICC profile in a photo's file says.

Phones write Display P3, photographers export Adobe RGB and ProPhoto RGB, and print shops want CMYK, but the models
learnt from sRGB. LittleCMS computes the conversion, through Pillow's ImageCms.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

MAX_PROFILE_BYTES = 8 << 20
"""Size from which on a profile is ignored; those of print shops have 3 MB at most."""

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space in a profile → mode of Pillow
_GRID = 9  # colours along each side of the cube by which a profile is compared with sRGB


def to_srgb(image: Image.Image, profile: object, grey: bool = False) -> Image.Image:
    """Returns the image in sRGB (mode RGB), or the image itself if there is nothing to convert.

    RGB and grey are converted with relative colorimetric intent, CMYK with perceptual intent. There is nothing to
    convert if the profile is missing, is sRGB (to one level of 255), is broken, has more than `MAX_PROFILE_BYTES`, or
    is for another colour space than the image's.

    Args:
        image: of mode RGB or CMYK.
        profile: the bytes of an ICC profile; anything else counts as no profile.
        grey: the image was grey before it became RGB, so a profile for grey fits it, too.
    """
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return image
    mode, transform = _conversion(profile)
    if transform is None:
        return image
    if mode == "L" and grey:
        return transform.apply(image.getchannel(0))
    return transform.apply(image) if image.mode == mode else image


@lru_cache(maxsize=16)
def _conversion(profile: bytes) -> tuple[str, ImageCmsTransform | None]:
    """Returns the mode that the profile is for, and the conversion from it to sRGB; None if none is needed, or none
    can be computed."""
    try:
        from PIL import ImageCms  # only here, as most photos need no conversion

        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        intent = ImageCms.Intent.PERCEPTUAL if mode == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
        unchanged = mode in ("RGB", "L") and _leaves_colours(transform, mode)
    except Exception:  # the parser of a block that anyone can write anything into, or a Pillow without LittleCMS
        return "", None
    return mode, None if unchanged else transform


def _leaves_colours(transform: ImageCmsTransform, mode: str) -> bool:
    """Returns whether a conversion changes no channel of any colour by more than one level of 255."""
    if mode == "L":
        colours = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    else:
        levels = np.linspace(0, 255, _GRID).astype(np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
        colours = Image.fromarray(cube.reshape(_GRID, -1, 3))
    before = np.asarray(colours.convert("RGB")).astype(np.int16)
    return bool(np.abs(np.asarray(transform.apply(colours)).astype(np.int16) - before).max() <= 1)
