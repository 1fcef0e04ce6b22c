"""Draws tiny-AVA: a small replacement for the AVA data set, drawn and rated by a program.

Each image is a drawn scene with the faults that a photographer may make: exposure, sharpness, noise, harmony of the
colours, level of the horizon and place of the subject are sampled one by one, and together decide the quality of the
image. About 210 raters then see that quality, each with their own taste, which gives the votes. Raters agree about
technical faults. They disagree the more, the further an image departs from convention, in its colours or its
horizon, as those of AVA do (Murray et al., "AVA: A Large-Scale Database for Aesthetic Visual Analysis", 2012).

The folder gets AVA's own layout: `AVA.txt` and `images/<id>.jpg`, with the id lists `splits/train.txt` and
`splits/test.txt` (a quarter of the images), `properties.csv` with the sampled values, and `dataset.json`, which says
that nobody took or rated these photos. Equal seeds give equal bytes.
No photograph, person or place is in it, so it may be shared freely.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nima.ava import Dataset
from nima.ratings import BUCKETS, compute_metrics, normalise_votes
from nima.tiny_ava.scenes import SCENES, Canvas, Framing, Palette, Random

TINY_AVA = Dataset(name="tiny-AVA", raters="a program", licence="MIT", drawn=True)
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


def disagreement(properties: Properties) -> float:
    """Returns the standard deviation of the ratings that very many raters would like to give, 1.15 to 2.05.

    Clashing colours and a tilted camera divide people; wrong exposure, blur and noise do not.
    """
    return 1.15 + 0.9 * (0.65 * properties.clash + 0.35 * min(1.0, abs(properties.tilt) / 10.0))


def sample_votes(mean: float, spread: float, random: Random) -> NDArray[np.int64]:
    """Returns counts `[10]` of 80 to 400 raters, about 210: each has a taste, and gives the nearest of the ten ratings.

    Args:
        mean: mean of the tastes, which is the quality, on the scale of the ratings.
        spread: standard deviation of the tastes, above 0.03.
    """
    raters = int(np.clip(random.normal(210, 40), 80, 400))
    # No two groups of raters are alike, so that the spread, too, can be seen only in part.
    tastes = random.normal(mean, spread + random.uniform(-0.03, 0.03), raters)
    return np.bincount(np.clip(np.rint(tastes), 1, 10).astype(int), minlength=11)[1:]


def expected_ratings(mean: float, spread: float) -> NDArray[np.float64]:
    """Returns the probabilities `[10]` of the ratings of very many raters, whose tastes have this mean and spread."""
    between = (np.arange(1, BUCKETS) + 0.5 - mean) / (spread * math.sqrt(2))
    below = [0.0, *(0.5 + 0.5 * math.erf(bound) for bound in between), 1.0]
    return np.diff(below)


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
    votes = sample_votes(quality(properties), disagreement(properties), random)
    buffer = io.BytesIO()
    photograph(properties, random).save(buffer, "JPEG", quality=92)
    return properties, votes, buffer.getvalue()


@dataclass(frozen=True)
class TinyAva:
    """Describes a tiny-AVA that was drawn.

    images: number of images; test_images: of those, the number that is for testing.
    votes: mean number of votes an image.
    constant_emd: EMD (r = 1) of predicting the training images' mean distribution for every test image.
    ceiling_srcc, ceiling_srcc_std: SRCC of the mean, and of the standard deviation, that a model would have that
        predicts what very many raters would give each test image, 0..1. The raters' noise leaves no more to any model.
    """

    images: int
    test_images: int
    votes: float
    constant_emd: float
    ceiling_srcc: float
    ceiling_srcc_std: float


def draw_tiny_ava(
    folder: Path, images: int = 600, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> TinyAva:
    """Draws a tiny-AVA and writes it into a folder, which is made if it does not exist.

    Args:
        images: number of images, at least 8.
        seed: seed of everything random, at least 0.
        progress: called with (done, total) after every image.

    Raises OSError if the folder cannot be written.
    """
    random = np.random.default_rng([seed, images])
    ids = np.sort(random.choice(900_000, images, replace=False) + 1_000_000)  # AVA's own ids end at 958,297
    test = np.zeros(images, dtype=bool)
    test[random.choice(images, round(TEST_SHARE * images), replace=False)] = True
    for subfolder in (folder / "images", folder / "splits"):
        subfolder.mkdir(parents=True, exist_ok=True)

    rows, lines = [], []
    votes_of_all = np.empty((images, BUCKETS), dtype=np.int64)
    expected = np.empty((images, BUCKETS))
    with ProcessPoolExecutor() as pool:
        made = pool.map(partial(make_image, seed), range(images), chunksize=8)
        for index, (image_id, (properties, votes, jpeg)) in enumerate(zip(ids, made, strict=True)):
            (folder / "images" / f"{image_id}.jpg").write_bytes(jpeg)
            lines.append(" ".join(map(str, [index + 1, image_id, *votes, TAGS[properties.scene], 0, 0])))
            truth = {"quality": round(quality(properties), 4), "disagreement": round(disagreement(properties), 4)}
            rows.append({"image_id": image_id, **truth, **asdict(properties)})
            expected[index] = expected_ratings(quality(properties), disagreement(properties))
            votes_of_all[index] = votes
            progress(index + 1, images)

    for name, chosen in (("train", ~test), ("test", test)):
        text = "".join(f"{image_id}\n" for image_id in ids[chosen])
        (folder / "splits" / f"{name}.txt").write_text(text, encoding="ascii")
    with (folder / "properties.csv").open("w", newline="", encoding="ascii") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    TINY_AVA.write(folder)
    # The list comes last: a folder without it is no data set yet.
    (folder / "AVA.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    return _describe(votes_of_all, expected, test)


def _describe(votes: NDArray[np.int64], expected: NDArray[np.float64], test: NDArray[np.bool_]) -> TinyAva:
    distributions = normalise_votes(votes)
    constant = np.tile(distributions[~test].mean(axis=0), (test.sum(), 1))
    ceiling = compute_metrics(expected[test], distributions[test])
    return TinyAva(
        images=len(votes),
        test_images=int(test.sum()),
        votes=float(votes.sum() / len(votes)),
        constant_emd=compute_metrics(constant, distributions[test]).emd_r1,
        ceiling_srcc=ceiling.srcc_mean,
        ceiling_srcc_std=ceiling.srcc_std,
    )
