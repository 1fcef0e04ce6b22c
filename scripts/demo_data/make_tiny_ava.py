"""Draws tiny-AVA: a small replacement for the AVA data set, drawn and rated by a program.

    python scripts/demo_data/make_tiny_ava.py OUT [--images 600] [--seed 0]

Each image is a drawn scene with the faults that a photographer may make: exposure, sharpness, noise, harmony of the
colours, level of the horizon and place of the subject are sampled one by one, and together decide the quality of the
image. About 210 raters then see that quality, each with their own taste, which gives the votes.

OUT gets AVA's own layout: `AVA.txt` and `images/<id>.jpg`, with the id lists `splits/train.txt` and `splits/test.txt`
(a quarter of the images), and `properties.csv` with the sampled values. Equal seeds give equal bytes. No photograph,
person or place is in it, so it may be shared freely.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tiny_ava_scenes import SCENES, Canvas, Framing, Palette, Random

RATINGS = np.arange(1, 11)
TEST_SHARE = 0.25
FORMATS = ((640, 480), (640, 427), (480, 640), (427, 640), (560, 560), (640, 400))
# AVA's own tag numbers.
TAGS = {"landscape": 14, "sunset": 35, "still life": 18, "portrait": 17, "skyline": 2, "flower": 38}


@dataclass(frozen=True)
class Properties:
    """Describes one image as a photographer would. For all properties but the scene, 0 is faultless."""

    scene: str
    exposure: float  # stops over or under
    blur: float  # standard deviation in thousandths of the long side
    noise: float  # standard deviation, full scale is 1
    clash: float  # 0: all colours are of one harmony, 1: of none
    tilt: float  # degrees
    misplaced: float  # distance of the subject from the nearest crossing of the thirds, 0..1


def sample_properties(random: Random) -> Properties:
    """Samples the properties: most images have one or two visible faults; too dark is more common than too bright."""

    def fault(share: float, usual: float, bad: float) -> float:
        return abs(random.normal(0, usual)) if random.random() > share else random.uniform(0.4, 1.0) * bad

    return Properties(
        scene=str(random.choice(list(SCENES))),
        exposure=(1 if random.random() < 0.3 else -1) * fault(0.35, 0.2, 3.2),
        blur=fault(0.35, 0.5, 9.0),
        noise=fault(0.3, 0.012, 0.2),
        clash=min(1.0, fault(0.4, 0.12, 1.0)),
        tilt=random.choice([-1, 1]) * fault(0.25, 0.7, 14.0),
        misplaced=random.uniform(0, 1),
    )


def quality(properties: Properties) -> float:
    """Returns the mean rating that very many raters would give, about 1 to 8."""
    penalty = (
        1.5 * min(1.0, abs(properties.exposure) / 2.5)
        + 1.8 * min(1.0, properties.blur / 7.0)
        + 1.4 * min(1.0, properties.noise / 0.15)
        + 1.2 * properties.clash
        + 0.6 * min(1.0, abs(properties.tilt) / 10.0)
        + 0.5 * properties.misplaced
    )
    return 7.8 - penalty


def sample_votes(mean: float, random: Random) -> NDArray[np.int64]:
    """Returns counts `[10]` of about 210 raters: their tastes spread around the quality; each gives a whole number."""
    raters = int(np.clip(random.normal(210, 40), 80, 400))
    spread = random.uniform(1.2, 1.7)
    tastes = random.normal(mean, spread, raters)
    return np.bincount(np.clip(np.rint(tastes), 1, 10).astype(int), minlength=11)[1:]


def sample_palette(clash: float, random: Random) -> Palette:
    """Samples hues of an analogous or a complementary harmony; `clash` pushes them apart and oversaturates them."""
    base = random.random()
    offsets = np.asarray([0, 0.06, 0.5, 0.56] if random.random() < 0.5 else [0, 0.08, 0.16, 0.1])
    pushed = offsets + clash * random.uniform(-0.5, 0.5, 4)
    hues = tuple(float(h) for h in base + pushed)
    return Palette((hues[0], hues[1], hues[2], hues[3]), 0.5 + 0.5 * clash)


def sample_framing(misplaced: float, random: Random) -> Framing:
    """Places the subject on a crossing of the thirds, or off it: in the centre or against the edge."""
    thirds = random.choice([1 / 3, 2 / 3]), 1 / 3
    wrong = random.choice([0.5, 0.06, 0.94]), random.choice([0.5, 0.15])
    x, y = (t + misplaced * (w - t) for t, w in zip(thirds, wrong, strict=True))
    horizon = random.choice([0.36, 0.62]) * (1 - misplaced) + 0.5 * misplaced
    return Framing(float(x), float(y), float(horizon))


def photograph(properties: Properties, random: Random) -> Image.Image:
    """Draws the scene, and applies the camera's faults to it."""
    width, height = FORMATS[random.integers(len(FORMATS))]
    scale = random.uniform(0.7, 1.0)
    width, height = round(width * scale), round(height * scale)
    # The scene is drawn larger, so that the corners of the picture stay filled if the camera is tilted.
    angle = np.radians(abs(properties.tilt))
    margin = np.cos(angle) + np.sin(angle) * max(width / height, height / width)
    canvas = Canvas(round(width * margin), round(height * margin), random)
    palette = sample_palette(properties.clash, random)
    SCENES[properties.scene](canvas, palette, sample_framing(properties.misplaced, random))
    image = canvas.image.rotate(properties.tilt, Image.Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    if properties.blur > 0.05:
        image = image.filter(ImageFilter.GaussianBlur(properties.blur * max(width, height) / 1000))
    # Stops count in light, so the picture goes from sRGB to linear light and back; what is too bright is clipped.
    light = (np.asarray(image, dtype=np.float32) / 255) ** 2.2 * 2**properties.exposure
    pixels = light.clip(0, 1) ** (1 / 2.2)
    # Three quarters are noise of brightness, the rest of colour, as in real sensors.
    grain = 0.75 * random.standard_normal((height, width, 1), dtype=np.float32)
    grain = grain + 0.66 * random.standard_normal((height, width, 3), dtype=np.float32)
    pixels = pixels + properties.noise * grain
    return Image.fromarray((255 * pixels.clip(0, 1) + 0.5).astype(np.uint8))


def make_image(seed: int, index: int) -> tuple[Properties, NDArray[np.int64], bytes]:
    """Returns image number `index` of the data set: its properties, votes `[10]` and JPEG."""
    random = np.random.default_rng([seed, index])
    properties = sample_properties(random)
    votes = sample_votes(quality(properties), random)
    buffer = io.BytesIO()
    photograph(properties, random).save(buffer, "JPEG", quality=92)
    return properties, votes, buffer.getvalue()


def make(out: Path, images: int, seed: int) -> None:
    """Draws and writes the whole data set."""
    random = np.random.default_rng([seed, images])
    ids = np.sort(random.choice(900_000, images, replace=False) + 1_000_000)  # AVA's own ids end at 958,297
    test = np.zeros(images, dtype=bool)
    test[random.choice(images, round(TEST_SHARE * images), replace=False)] = True
    for folder in (out / "images", out / "splits"):
        folder.mkdir(parents=True, exist_ok=True)

    rows, lines = [], []
    all_votes = np.empty((images, 10), dtype=np.int64)
    with ProcessPoolExecutor() as pool:
        made = pool.map(partial(make_image, seed), range(images), chunksize=8)
        for index, (image_id, (properties, votes, jpeg)) in enumerate(zip(ids, made, strict=True)):
            (out / "images" / f"{image_id}.jpg").write_bytes(jpeg)
            lines.append(" ".join(map(str, [index + 1, image_id, *votes, TAGS[properties.scene], 0, 0])))
            rows.append({"image_id": image_id, "quality": round(quality(properties), 4), **asdict(properties)})
            all_votes[index] = votes

    (out / "AVA.txt").write_text("\n".join(lines) + "\n")
    for name, chosen in (("train", ~test), ("test", test)):
        (out / "splits" / f"{name}.txt").write_text("".join(f"{image_id}\n" for image_id in ids[chosen]))
    with (out / "properties.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    true_means = np.asarray([row["quality"] for row in rows])
    print(f"{images} images in {out}, {test.sum()} of them for testing; {all_votes.sum() / images:.0f} votes an image")
    constant = constant_emd(all_votes[~test], all_votes[test])
    ceiling = srcc(true_means[test], mean_ratings(all_votes[test]))
    print(f"constant prediction on the test images: SRCC 0, EMD r=1 {constant:.4f}")
    print(f"ceiling: SRCC {ceiling:.3f}, which is what the noise of the raters leaves of it")


def mean_ratings(votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the mean rating `[n]` of votes `[n, 10]`."""
    return np.asarray(votes @ RATINGS / votes.sum(axis=1))


def constant_emd(train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    """Returns the EMD (r=1) of predicting the training images' mean distribution for every test image."""
    constant = (train / train.sum(axis=1, keepdims=True)).mean(axis=0)
    difference = test / test.sum(axis=1, keepdims=True) - constant
    return float(np.abs(np.cumsum(difference, axis=1)).mean())


def srcc(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Returns Spearman's rank correlation of values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw and rate a small stand-in for the AVA data set.")
    parser.add_argument("out", type=Path, help="folder to write; made where it does not exist")
    parser.add_argument("--images", type=int, default=600, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    arguments = parser.parse_args()
    if not 8 <= arguments.images <= 100_000 or arguments.seed < 0:
        parser.error("--images must lie between 8 and 100,000, and --seed must not be negative")
    try:
        make(arguments.out, arguments.images, arguments.seed)
    except OSError as error:
        sys.exit(f"{arguments.out} could not be written: {error}")


if __name__ == "__main__":
    main()
