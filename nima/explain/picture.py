"""Draws an explanation as a picture: the places that matter in colour, and a panel with the effects of edits."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

from nima.explain.explanation import Effect, Explanation

_WIDTH, _PHOTO_HEIGHT, _PANEL_HEIGHT = 1200, 900, 384
_EDGE = 32
_BACKGROUND, _TEXT, _FAINT = (22, 24, 29), (235, 236, 240), (140, 145, 155)
_HOLDS_UP, _PULLS_DOWN = (255, 138, 30), (60, 140, 255)  # orange and blue, which nearly everyone can tell apart
_MARGIN = (220, 70, 70)
_LONGEST_NAME = 16  # characters of a data set's name, for which there is room
_STRONGEST = 0.72  # opacity of the strongest place


def draw_explanation(explanation: Explanation, photo: Image.Image) -> Image.Image:
    """Draws an explanation over its photo (RGB, of any size); the picture is RGB and 1200 pixels wide."""
    shown = _fitted(photo)
    picture = Image.new("RGB", (_WIDTH, shown.height + _PANEL_HEIGHT), _BACKGROUND)
    picture.paste(_coloured(explanation, shown), ((_WIDTH - shown.width) // 2, 0))
    _panel(explanation, ImageDraw.Draw(picture), shown.height)
    return picture


def _fitted(photo: Image.Image) -> Image.Image:
    scale = min(_WIDTH / photo.width, _PHOTO_HEIGHT / photo.height)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    return photo.resize(size, Resampling.LANCZOS)


def _strongest(explanation: Explanation) -> float:
    """Returns the points that get the strongest colour: at least four margins; mere noise is hardly coloured then."""
    return max(float(np.abs(explanation.places).max()), 4 * explanation.places_margin)


def _coloured(explanation: Explanation, photo: Image.Image) -> Image.Image:
    places = Image.fromarray(explanation.places.astype(np.float32)).resize(photo.size, Resampling.BICUBIC)
    points = np.asarray(places)[..., None]
    # A place within the margin gets no colour.
    strength = (np.abs(points) - explanation.places_margin) / (_strongest(explanation) - explanation.places_margin)
    opacity = _STRONGEST * np.clip(strength, 0, 1)
    colours = np.where(points > 0, np.array(_HOLDS_UP), np.array(_PULLS_DOWN))
    grey = np.asarray(photo.convert("L").convert("RGB"), dtype=np.float32)
    below = 0.75 * grey + 0.25 * np.asarray(photo, dtype=np.float32)
    return Image.fromarray(np.rint(below * (1 - opacity) + colours * opacity).astype(np.uint8))


def _panel(explanation: Explanation, drawing: ImageDraw.ImageDraw, top: int) -> None:
    score = explanation.score
    large, medium, small = (ImageFont.load_default(size) for size in (56, 22, 18))
    left, line = _EDGE, top + 24
    drawing.text((left, line), f"{score.aesthetic_score:.2f}", _TEXT, large)
    rank = f"above {score.percentile:.0f}% of {score.population[:_LONGEST_NAME]}"
    drawing.text((left, line + 70), rank, _TEXT, medium)
    lowest, highest = min(explanation.copies), max(explanation.copies)
    for index, text in enumerate(("the model's opinion; copies that", f"look the same: {lowest:.2f} to {highest:.2f}")):
        drawing.text((left, line + 104 + 24 * index), text, _FAINT, small)
    for index, (colour, words, points) in enumerate(
        (
            (_HOLDS_UP, "blurring this lowers it", float(explanation.places.max())),
            (_PULLS_DOWN, "blurring this raises it", -float(explanation.places.min())),
        )
    ):
        row = line + 176 + 56 * index
        drawing.rounded_rectangle((left, row, left + 40, row + 40), 6, colour)
        certain = points > explanation.places_margin
        amount = f"by up to {points:.2f} ± {explanation.places_margin:.2f}" if certain else "nowhere more than noise"
        drawing.text((left + 54, row - 2), words, _TEXT, small)
        drawing.text((left + 54, row + 20), amount, _FAINT, small)
    widest = max((abs(effect.difference) + effect.margin for effect in explanation.effects), default=1)
    column = 390
    for kind, effects in groupby(explanation.effects, key=lambda effect: effect.kind):
        drawing.text((column, line + 4), _TITLES[kind], _TEXT, medium)
        for index, effect in enumerate(effects):
            _effect(drawing, effect, column, line + 48 + 56 * index, widest)
        column += 274
    note = "red lines: 95% margins; grey: no more than noise"
    drawing.text((664, top + _PANEL_HEIGHT - 50), note, _FAINT, ImageFont.load_default(17))


_TITLES = {"crop": "Cropped", "exposure": "Exposed", "rotation": "Turned"}


def _effect(drawing: ImageDraw.ImageDraw, effect: Effect, left: int, top: int, widest: float) -> None:
    """Draws an effect: its name, and below it a bar from the middle with its margin, and the figure."""
    small = ImageFont.load_default(17)
    reach, middle, row = 80, left + 80, top + 36
    colour = _TEXT if effect.certain else _FAINT
    drawing.text((left, top), effect.name, _TEXT, small)

    def across(points: float) -> float:
        return middle + reach * points / widest

    ends = sorted((across(0), across(effect.difference)))
    drawing.rectangle((ends[0], row - 7, ends[1], row + 7), colour)
    margin = (across(effect.difference - effect.margin), row, across(effect.difference + effect.margin), row)
    drawing.line(margin, _MARGIN, 3)
    drawing.line((middle, row - 11, middle, row + 11), _FAINT, 1)
    drawing.text((left + 2 * reach + 14, row - 11), f"{effect.difference:+.2f}", colour, small)
