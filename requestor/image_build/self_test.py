"""Makes the jobs by which an image is tested, and compares their results with those that this machine computes.

The model is drawn so that its numbers can be wrong. A network with the usual random weights gives every photo the same
prediction, and a comparison of such numbers finds nothing. Here, each BatchNorm takes its statistics from the test's
own photos (data-dependent initialisation, Krähenbühl et al. 2016, arXiv 1511.06856), so that activations keep their
scale through all layers; features have a standard deviation of 1 over the photos, and logits, too.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from nima.errors import NimaError
from nima.model import Nima, Preparation, checkpoint, initial_model
from nima.safe_io import sha256_of
from nima.training import embed, predict, standardise_features, train
from nima.wire import (
    PROTOCOL,
    Job,
    JobKind,
    JobResult,
    Shard,
    TrainingPlan,
    decode_features,
    decode_predictions,
    decode_update,
    round_update,
    schema_of,
    write_shard,
)
from requestor.errors import ImageError
from requestor.image import STORE_FOLDER

BACKBONE = "mobilenet_v3_small"
PHOTOS = 8
TOLERANCES: Mapping[JobKind, float] = {"embed": 1e-3, "evaluate": 1e-4, "train": 0.01}
"""Largest difference between an image's results and this machine's: see `compare`."""

PLAN = TrainingPlan(
    steps=3, batch_size=4, lr_backbone=0.1, lr_head=0.01, momentum=0.9, weight_decay=0.0, trainable_blocks=-1, seed=1,
    augment=True,
)  # fmt: skip
_SEED = 1
_CONVOLUTION_GAIN = 0.2  # makes the variances small enough that BatchNorm's epsilon of 0.001 counts
_HALF_ROUNDING = 2.0**-10  # of fp16: two neighbouring values differ by so much, relative to the value


@dataclass(frozen=True)
class SelfTest:
    """Holds a model and photos with which an image is tested.

    model: the model, whose file has the SHA-256 `base`.
    photos: the stored images of the shard with the SHA-256 `shard`.
    image_ids: their ids, int64 `[n]`; votes: theirs, int32 `[n, 10]`.
    """

    model: Nima
    base: str
    shard: str
    photos: list[bytes]
    image_ids: NDArray[np.int64]
    votes: NDArray[np.int32]

    @classmethod
    def prepare(cls, store: Path) -> SelfTest:
        """Draws a model and photos, and puts both into the folder `store`."""
        model = drawn_model(drawn_photos(Preparation()))
        draft = store / "draft"
        checkpoint.save(draft, model, {})
        base = sha256_of(draft)
        draft.rename(store / f"{base}.safetensors")
        return cls._of(model, base, store)

    @classmethod
    def of_model(cls, path: Path, store: Path) -> SelfTest:
        """Tests with a model of the image; `path` names its copy on this machine. Puts photos into the folder `store`.

        Raises ImageError if the file is no model.
        """
        try:
            model, _ = checkpoint.load(path)
        except NimaError as error:
            raise ImageError(f"A model that the image's labels name is not in it: {error}") from error
        return cls._of(model, path.stem, store)

    @classmethod
    def _of(cls, model: Nima, base: str, store: Path) -> SelfTest:
        photos, votes, image_ids = drawn_photos(model.preparation), drawn_votes(), np.arange(1, PHOTOS + 1)
        return cls(model, base, write_shard(store, image_ids, votes, photos).sha256, photos, image_ids, votes)

    def job(self, kind: JobKind, name: str, store: str = STORE_FOLDER) -> Job:
        """Returns the job `name` of `kind`; the files lie in the folder `store` of the machine that does it."""
        plan = PLAN if kind == "train" else None
        return Job(PROTOCOL, kind, name, self.model.backbone, store, self.base, (self.shard,), plan, threads=0)

    def compare(self, folder: Path, result: JobResult) -> float | None:
        """Computes a job here, too, and returns the difference from what the image's program left in `folder`.

        Of features it is the largest in units of their standard deviation over photos, without what the rounding to
        fp16 explains; of predictions, the largest of a probability; of a training, the distance of the updates,
        relative to the length of the update; of a benchmark, None. Raises ImageError if it is above `TOLERANCES`, or if
        the job's output breaks its format.
        """
        if result.kind is None or result.kind == "benchmark":
            return None
        path = folder / (result.output or "")
        try:
            difference = self._difference(result.kind, path)
        except NimaError as error:
            raise ImageError(f"The image's job `{result.kind}` wrote a file that breaks its format: {error}") from error
        check_difference(result.kind, difference)
        return difference

    def _difference(self, kind: JobKind, path: Path) -> float:
        if kind == "embed":
            return _of_features(decode_features(path, self.image_ids, self.features.shape[1]), self.features)
        if kind == "evaluate":
            return largest(decode_predictions(path, self.image_ids) - self.probabilities)
        return _of_updates(decode_update(path, schema_of(self.update)), self.update)

    @cached_property
    def features(self) -> NDArray[np.float16]:
        """Computes the features of the photos, float16 `[n, features]`."""
        return embed(self.model, self.photos)

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """Computes the predictions, float32 `[n, 10]`."""
        return predict(self.model, self.photos)

    @cached_property
    def update(self) -> dict[str, Tensor]:
        """Trains a copy of the model by the job's plan, and returns what an exact update says, name → float32."""
        model = copy.deepcopy(self.model)
        received = _values(model)
        train(model, [Shard(self.image_ids, self.votes, self.photos)], PLAN)
        return round_update(received, _values(model), PLAN.seed)


def _of_features(there: NDArray[np.float16], here: NDArray[np.float16]) -> float:
    there, here = there.astype(np.float64), here.astype(np.float64)
    return largest(np.maximum(abs(there - here) - _HALF_ROUNDING * abs(here), 0))


def _of_updates(there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> float:
    off = sum(float((there[name] - values).double().square().sum()) for name, values in here.items())
    way = sum(float(values.double().square().sum()) for values in here.values())
    return float((off / way) ** 0.5)


def check_difference(kind: JobKind, difference: float) -> None:
    """Raises ImageError if the results of a job of `kind` differ from this machine's by more than `TOLERANCES`."""
    if not difference <= TOLERANCES[kind]:  # so that NaN is refused, too
        raise ImageError(
            f"The image computes other values than this machine: the results of the job `{kind}` differ by "
            f"{difference:.2g}, and at most {TOLERANCES[kind]:g} is rounding. Build it again from the pinned packages."
        )


def largest(differences: NDArray[np.floating]) -> float:
    """Returns the largest absolute value; NaN if any is. Raises ValueError if there are no values."""
    return float(abs(differences).max())


def drawn_model(photos: list[bytes]) -> Nima:
    """Draws a model whose every layer matters for `photos`: stored images with room for random crops."""
    model = initial_model(BACKBONE, None, seed=_SEED)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        norms = []
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                gain = _CONVOLUTION_GAIN if module.bias is None else 1.0  # those with a bias have no BatchNorm behind
                nn.init.normal_(module.weight, std=gain / module.weight[0].numel() ** 0.5)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.5)
                norms.append(module)
        nn.init.normal_(model.head.weight, std=model.head.in_features**-0.5)
        model.eval()
        # In this mode a BatchNorm normalises by the batch, so one pass sets the statistics of all layers.
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        model.features(model.preparation.central_crops(photos))
        for norm in norms:
            norm.eval()
    standardise_features(model, photos)
    return model


def drawn_photos(preparation: Preparation) -> list[bytes]:
    """Draws stored images: waves of another colour and direction for each, with sharp edges and fine grain."""
    y, x = np.mgrid[0:320, 0:320] / 320.0
    random = np.random.default_rng(_SEED)
    photos = []
    for number in range(PHOTOS):
        turn = np.cos(number) * x + np.sin(number) * y
        waves = np.stack([np.sin(turn * (number + 2) * 3 + phase) for phase in (0.0, 2.0, 4.0)], axis=-1)
        tiles = random.normal(size=(10 + number, 10 + number, 3)).repeat(40, axis=0).repeat(40, axis=1)[:320, :320]
        pixels = 127.5 + 50 * waves + 40 * tiles + random.normal(scale=20, size=waves.shape)
        photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        photos.append(preparation.store(photo, random_crops=True))
    return photos


def drawn_votes() -> NDArray[np.int32]:
    """Draws votes, int32 `[n, 10]`, whose mean is another for each photo."""
    ratings = np.arange(10)
    means = np.linspace(1, 8, PHOTOS)
    return np.round(100 * np.exp(-((ratings - means[:, None]) ** 2) / 4)).astype(np.int32)


def _values(model: Nima) -> dict[str, Tensor]:
    return {
        name: parameter.detach().clone()
        for name, parameter in model.trainable_parameters(PLAN.trainable_blocks).items()
    }
