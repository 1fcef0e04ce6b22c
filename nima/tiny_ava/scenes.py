"""Draws scenes for tiny-AVA from random numbers: the things in front of the camera, and their framing.

A scene is drawn in colours of a `Palette`, around a subject and a horizon of a `Framing`; each of the functions in
`SCENES` is one kind of scene. Coordinates are in the unit square, so that a scene does not depend on the size.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Random = np.random.Generator
Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Framing:
    """Names the places of subject and horizon in the unit square, from the top left."""

    x: float
    y: float
    horizon: float


@dataclass(frozen=True)
class Palette:
    """Holds colours that go together, or do not.

    hues: of four elements, 0..1 around the colour wheel. saturation: of all of them, 0..1.
    """

    hues: tuple[float, float, float, float]
    saturation: float

    def colour(self, element: int, value: float, saturation: float = 1.0) -> Colour:
        """Returns a colour of one of the elements; value 0 (dark) to 1, saturation relative to the palette's."""
        red, green, blue = colorsys.hsv_to_rgb(
            self.hues[element] % 1, min(1.0, self.saturation * saturation), min(1.0, max(0.0, value))
        )
        return round(255 * red), round(255 * green), round(255 * blue)


class Canvas:
    """Holds a picture, and draws on it in coordinates of the unit square."""

    def __init__(self, width: int, height: int, random: Random) -> None:
        self.image = Image.new("RGB", (width, height))
        self.width, self.height, self.random = width, height, random

    @property
    def aspect(self) -> float:
        """Returns the width divided by the height."""
        return self.width / self.height

    def gradient(self, top: Colour, bottom: Colour, start: float = 0.0, stop: float = 1.0) -> None:
        """Draws a vertical gradient between two heights, over the whole width."""
        first, last = round(start * self.height), round(stop * self.height)
        if last <= first:
            return
        share = np.linspace(0, 1, last - first)[:, None, None]
        rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
        block = np.broadcast_to(rows, (last - first, self.width, 3)).astype(np.uint8)
        self.image.paste(Image.fromarray(block), (0, first))

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """Draws a filled polygon."""
        ImageDraw.Draw(self.image).polygon([(x * self.width, y * self.height) for x, y in points], colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Draws a filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Draws a filled ellipse; the radii are relative to the height, so that a circle stays one in every format."""
        w, h = self.width, self.height
        box = (x * w - radius_x * h, y * h - radius_y * h, x * w + radius_x * h, y * h + radius_y * h)
        ImageDraw.Draw(self.image).ellipse(box, colour)

    def sphere(self, x: float, y: float, radius: float, light: Colour, dark: Colour) -> None:
        """Draws a ball that is lit from the upper left, in a dozen shells."""
        for step in range(12):
            share = step / 11
            mixed = np.asarray(dark) * (1 - share) + np.asarray(light) * share
            colour: Colour = (int(mixed[0]), int(mixed[1]), int(mixed[2]))
            shell = radius * (1 - 0.85 * share)
            offset = 0.35 * (radius - shell)
            self.ellipse(x - offset / self.aspect, y - offset, shell, shell, colour)

    def texture(self, strength: float, start: float = 0.0, stop: float = 1.0, stretch: int = 1) -> None:
        """Adds smooth noise in three octaves, as of grass, stone or waves (`stretch` > 1 draws it out sideways)."""
        top, bottom = round(start * self.height), round(stop * self.height)
        if bottom - top < 8:
            return
        box = (0, top, self.width, bottom)
        region = np.asarray(self.image.crop(box), dtype=np.float32)
        grain = np.zeros(region.shape[:2], dtype=np.float32)
        for cell, weight in ((24, 0.5), (8, 0.3), (3, 0.4)):
            size = (self.width // (cell * stretch) + 2, (bottom - top) // cell + 2)
            coarse = Image.fromarray(self.random.standard_normal(size[::-1]).astype(np.float32))
            grain += weight * np.asarray(coarse.resize((self.width, bottom - top), Image.Resampling.BICUBIC))
        shaded = region * (1 + strength * grain[..., None])
        self.image.paste(Image.fromarray(shaded.clip(0, 255).astype(np.uint8)), box)

    def soften(self, radius: float) -> None:
        """Blurs the picture, as a background out of focus is; the radius is relative to the height."""
        self.image = self.image.filter(ImageFilter.GaussianBlur(radius * self.height))

    def ridge(self, base: float, height: float, colour: Colour, roughness: float = 0.6) -> None:
        """Draws a line of mountains or hills: a random path by midpoint displacement, filled to the bottom."""
        line: NDArray[np.float64] = self.random.uniform(-1, 1, 3)
        scale = 1.0
        for _ in range(6):
            scale *= roughness
            middle = (line[:-1] + line[1:]) / 2 + scale * self.random.uniform(-1, 1, len(line) - 1)
            line = np.insert(middle, np.arange(len(line)), line)[: 2 * len(line) - 1]
        points = [(i / (len(line) - 1), base - height * float(y)) for i, y in enumerate(line)]
        self.polygon([*points, (1.0, 1.0), (0.0, 1.0)], colour)


def landscape(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws hills, a meadow and trees; the largest tree is the subject."""
    random, horizon = canvas.random, framing.horizon
    canvas.gradient(palette.colour(0, 0.75), palette.colour(0, 0.95, 0.35), 0, horizon)
    canvas.rectangle(0, horizon, 1, 1, palette.colour(2, 0.5))
    for layer in range(3):
        base = horizon + 0.03 * layer
        canvas.ridge(base, 0.14 - 0.03 * layer, palette.colour(1, 0.65 - 0.15 * layer, 0.4 + 0.2 * layer))
    canvas.gradient(palette.colour(2, 0.62), palette.colour(2, 0.3), horizon + 0.09, 1)
    canvas.texture(0.16, horizon)
    # The subject is a single tree; smaller ones stand further away.
    for x, size in [(random.uniform(0, 1), random.uniform(0.02, 0.05)) for _ in range(6)] + [(framing.x, 0.15)]:
        foot = framing.y + 0.2 if size > 0.1 else horizon + 0.1
        canvas.rectangle(x - 0.08 * size, foot - size, x + 0.08 * size, foot, palette.colour(3, 0.25))
        for _ in range(14):
            dx, dy = random.normal(0, 0.35, 2) * size
            shade = random.uniform(0.3, 0.6)
            canvas.ellipse(x + dx, foot - 1.3 * size + dy, 0.3 * size, 0.3 * size, palette.colour(3, shade))


def sunset(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws a sun above water, which is the subject, and perhaps a boat."""
    random, horizon = canvas.random, framing.horizon
    canvas.gradient(palette.colour(0, 0.4), palette.colour(1, 0.95), 0, horizon)
    for _ in range(7):
        x, y = random.uniform(0, 1), random.uniform(0.05, max(0.1, horizon - 0.05))
        canvas.ellipse(x, y, random.uniform(0.1, 0.3), random.uniform(0.006, 0.02), palette.colour(2, 0.85, 0.7))
    sun = min(framing.y, horizon - 0.04)
    for step in range(8):
        canvas.ellipse(framing.x, sun, 0.13 - 0.01 * step, 0.13 - 0.01 * step, palette.colour(1, 1.0, 1 - 0.12 * step))
    canvas.gradient(palette.colour(1, 0.7), palette.colour(0, 0.25), horizon, 1)
    for row in np.linspace(horizon + 0.01, 0.98, 26):
        width = 0.03 + 0.12 * (row - horizon) + random.uniform(0, 0.04)
        x = framing.x + random.normal(0, 0.012)
        canvas.rectangle(x - width, row, x + width, row + 0.006, palette.colour(1, 1.0, 0.5))
    canvas.texture(0.18, horizon, stretch=4)
    if random.random() < 0.6:
        x, deck = random.uniform(0.1, 0.9), horizon + 0.05
        dark = palette.colour(3, 0.12)
        canvas.polygon([(x - 0.06, deck), (x + 0.06, deck), (x + 0.04, deck + 0.03), (x - 0.04, deck + 0.03)], dark)
        canvas.polygon([(x, deck - 0.01), (x, deck - 0.16), (x + 0.05, deck - 0.01)], dark)


def still_life(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws balls on a table, and perhaps a bottle."""
    random = canvas.random
    table = 0.5 + 0.3 * framing.horizon
    canvas.gradient(palette.colour(0, 0.35, 0.6), palette.colour(0, 0.6, 0.6), 0, table)
    canvas.soften(0.01)
    canvas.gradient(palette.colour(1, 0.6, 0.7), palette.colour(1, 0.4, 0.7), table, 1)
    canvas.texture(0.1, table, stretch=6)
    if random.random() < 0.7:
        x = framing.x + random.choice([-1, 1]) * random.uniform(0.12, 0.2)
        neck, foot = table - 0.3, table + 0.06
        glass = palette.colour(2, 0.55)
        body = [(x - 0.02, neck), (x + 0.02, neck), (x + 0.03, neck + 0.12), (x + 0.08, neck + 0.22)]
        canvas.polygon(
            [*body, (x + 0.05, foot), (x - 0.05, foot), (x - 0.08, neck + 0.22), (x - 0.03, neck + 0.12)], glass
        )
        canvas.rectangle(x - 0.045, neck + 0.2, x - 0.035, foot - 0.05, palette.colour(2, 0.95, 0.3))
    for number in range(int(random.integers(3, 6))):
        element = int(random.integers(2, 4))
        radius = random.uniform(0.06, 0.11)
        x = framing.x + (0.0 if number == 0 else random.normal(0, 0.11))
        y = table + 0.06 + (0.02 if number == 0 else random.uniform(-0.02, 0.08))
        canvas.ellipse(x + 0.4 * radius, y + 0.85 * radius, 1.1 * radius, 0.25 * radius, palette.colour(1, 0.22, 0.7))
        canvas.sphere(x, y, radius, palette.colour(element, 1.0, 0.8), palette.colour(element, 0.35))


def portrait(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws a face before a blurred background."""
    random = canvas.random
    canvas.gradient(palette.colour(0, 0.55, 0.7), palette.colour(0, 0.3, 0.7))
    for _ in range(25):
        x, y = random.uniform(0, 1, 2)
        radius = random.uniform(0.02, 0.08)
        canvas.ellipse(x, y, radius, radius, palette.colour(int(random.integers(0, 2)), random.uniform(0.4, 0.8), 0.6))
    canvas.soften(0.03)
    # Eyes belong on the upper third, so the head hangs below the subject's point.
    x, y, size = framing.x, framing.y + 0.02, random.uniform(0.14, 0.19)
    skin_hue = 0.07
    tone = random.uniform(0.45, 0.95)
    skin = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(skin_hue, 0.45, tone))
    shadow = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(skin_hue, 0.55, 0.7 * tone))
    light: Colour = (skin[0], skin[1], skin[2])
    dark: Colour = (shadow[0], shadow[1], shadow[2])
    wide = size / canvas.aspect
    hair = palette.colour(3, random.uniform(0.1, 0.5), 0.8)
    canvas.ellipse(x, y - 0.1 * size, 0.92 * size, 1.15 * size, hair)
    cloth = palette.colour(2, 0.6)
    canvas.polygon([(x - 2 * wide, 1), (x - 1.6 * wide, y + 1.6 * size), (x, y + 1.25 * size),
                    (x + 1.6 * wide, y + 1.6 * size), (x + 2 * wide, 1)], cloth)  # fmt: skip
    canvas.rectangle(x - 0.3 * wide, y + 0.6 * size, x + 0.3 * wide, y + 1.4 * size, dark)
    canvas.ellipse(x, y, 0.72 * size, size, light)
    canvas.ellipse(x + 0.12 * wide, y + 0.35 * size, 0.1 * size, 0.14 * size, dark)
    for side in (-1, 1):
        eye = x + side * 0.3 * wide
        canvas.ellipse(eye, y - 0.05 * size, 0.14 * size, 0.08 * size, (245, 245, 240))
        canvas.ellipse(eye, y - 0.05 * size, 0.07 * size, 0.07 * size, palette.colour(1, 0.35))
        canvas.rectangle(eye - 0.16 * wide, y - 0.25 * size, eye + 0.16 * wide, y - 0.2 * size, hair)
    canvas.ellipse(x, y + 0.55 * size, 0.22 * size, 0.06 * size, (170, 70, 75))
    canvas.texture(0.04)


def skyline(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws towers, the largest of which is the subject, and perhaps their reflection in water."""
    random, horizon = canvas.random, framing.horizon
    ground = min(0.9, horizon + 0.15)
    canvas.gradient(palette.colour(0, 0.35), palette.colour(1, 0.85, 0.8), 0, ground)
    for depth in range(2):
        x = -0.05
        while x < 1.05:
            width = random.uniform(0.04, 0.1)
            tall = random.uniform(0.1, 0.3) * (1.3 if depth == 0 else 1.0)
            tower(canvas, palette, x, width, ground - tall, ground, depth)
            x += width + random.uniform(0, 0.01)
    tower(canvas, palette, framing.x - 0.04, 0.08, min(framing.y, ground - 0.35), ground, 1)
    canvas.gradient(palette.colour(2, 0.35), palette.colour(2, 0.15), ground, 1)
    if ground < 0.88:
        water = canvas.image.crop(
            (0, round((2 * ground - 1) * canvas.height), canvas.width, round(ground * canvas.height))
        )
        mirrored = water.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        below = canvas.image.crop(
            (0, round(ground * canvas.height), canvas.width, round(ground * canvas.height) + mirrored.height)
        )
        canvas.image.paste(Image.blend(below, mirrored, 0.45), (0, round(ground * canvas.height)))
        canvas.texture(0.15, ground, stretch=5)


def tower(canvas: Canvas, palette: Palette, x: float, width: float, top: float, foot: float, depth: int) -> None:
    """Draws a building; at depth 1, which is in front, its windows are lit."""
    canvas.rectangle(x, top, x + width, foot, palette.colour(2, 0.45 - 0.2 * depth, 0.5))
    if depth == 0:
        return
    rows, columns = max(1, int((foot - top) / 0.03)), max(1, int(width / 0.016))
    lit = canvas.random.random((rows, columns)) < 0.45
    for row, column in np.argwhere(lit):
        left, up = x + 0.004 + 0.016 * column, top + 0.01 + 0.03 * row
        canvas.rectangle(left, up, left + 0.007, up + 0.014, palette.colour(3, 0.95, 0.7))


def flower(canvas: Canvas, palette: Palette, framing: Framing) -> None:
    """Draws a flower before a blurred background."""
    random = canvas.random
    canvas.gradient(palette.colour(0, 0.45, 0.8), palette.colour(0, 0.2, 0.8))
    for _ in range(40):
        x, y = random.uniform(0, 1, 2)
        radius = random.uniform(0.02, 0.12)
        canvas.ellipse(
            x, y, radius, 0.5 * radius, palette.colour(int(random.integers(0, 2)), random.uniform(0.2, 0.7), 0.8)
        )
    canvas.soften(0.025)
    x, y, size = framing.x, framing.y, random.uniform(0.17, 0.26)
    stem = palette.colour(1, 0.35)
    canvas.polygon([(x - 0.008, y), (x + 0.008, y), (x + 0.05, 1), (x + 0.03, 1)], stem)
    petals = int(random.integers(6, 14))
    turn = random.uniform(0, np.pi)
    for ring, (reach, value) in enumerate(((1.0, 0.7), (0.75, 0.9))):
        for petal in range(petals):
            angle = turn + (petal + 0.5 * ring) * 2 * np.pi / petals
            half = 0.9 * np.pi / petals
            outline = []
            for turned, reached in ((0, 0.1), (-0.8, 0.55), (-0.6, 0.85), (0, 1.0), (0.6, 0.85), (0.8, 0.55)):
                direction, length = angle + turned * half, reached * reach * size
                point = x + np.cos(direction) * length / canvas.aspect, y + np.sin(direction) * length
                outline.append(point)
            canvas.polygon(outline, palette.colour(2, value * random.uniform(0.85, 1.05)))
    canvas.sphere(x, y, 0.28 * size, palette.colour(3, 1.0), palette.colour(3, 0.4))
    for _ in range(60):
        dx, dy = random.normal(0, 0.1, 2) * size
        canvas.ellipse(x + dx / canvas.aspect, y + dy, 0.004, 0.004, palette.colour(3, random.uniform(0.2, 0.9)))
    canvas.texture(0.05)


Scene = Callable[[Canvas, Palette, Framing], None]

SCENES: dict[str, Scene] = {
    "landscape": landscape,
    "sunset": sunset,
    "still life": still_life,
    "portrait": portrait,
    "skyline": skyline,
    "flower": flower,
}
