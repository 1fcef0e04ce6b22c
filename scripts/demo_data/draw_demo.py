"""Draws the README's picture from a finished demo: six test photos, from the lowest predicted score to the highest.

python scripts/demo_data/draw_demo.py demo docs/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from nima.ava import image_path, read_prediction_table, read_ratings
from nima.ratings import mean_rating, normalise_votes

PHOTOS, SIDE, GAP, CAPTION = 6, 220, 12, 52


def draw(demo: Path, picture: Path) -> None:
    """Draws the picture of the demo in the folder `demo`, and writes it to `picture`."""
    table = read_prediction_table(demo / "run" / "predictions.csv")
    ratings = read_ratings(demo / "tiny-ava").select(table.image_ids)
    predicted, rated = mean_rating(table.probabilities), mean_rating(normalise_votes(ratings.votes))
    order = np.argsort(predicted)
    chosen = order[np.linspace(0, len(order) - 1, PHOTOS).round().astype(int)]
    sheet = Image.new("RGB", (PHOTOS * (SIDE + GAP) + GAP, SIDE + CAPTION + GAP), "white")
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for column, row in enumerate(chosen):
        left = GAP + column * (SIDE + GAP)
        with Image.open(image_path(demo / "tiny-ava", int(table.image_ids[row]))) as photo:
            sheet.paste(ImageOps.fit(photo.convert("RGB"), (SIDE, SIDE)), (left, GAP))
        brush.text((left, SIDE + GAP + 4), f"predicted {predicted[row]:.2f}", fill="black", font=font)
        brush.text((left, SIDE + GAP + 24), f"rated {rated[row]:.2f}", fill="#666666", font=font)
    sheet.quantize(192, dither=Image.Dither.FLOYDSTEINBERG).save(picture, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
