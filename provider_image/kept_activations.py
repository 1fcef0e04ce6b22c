"""Keeps the outputs of the frozen blocks on disk for later epochs and rounds, which differ in the trained blocks alone.

So a provider decodes each photo, and computes the frozen blocks for it, only once, and only if a step uses the photo.
Each shard has a file in the store, `<key>.activations`, whose key is the hash of all that the outputs depend on. The
files are the provider's own: if one is missing, damaged or cannot be written, that only costs time.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nima.model import Activations, Nima
from nima.training import FrozenSource, frozen_activations
from nima.version import VERSION
from nima.wire import Shard, TrainingPlan, image_places
from provider_image.activation_rows import RowLayout, StoredRows

MOST_BYTES = 4 << 30
"""Most bytes of a store's activations: those of 200,000 photos for the last three blocks of MobileNetV2."""

_FREE_SHARE = 0.5  # share of the free disk that new files may take
_SUFFIX = ".activations"


@contextmanager
def keep_activations(
    store: Path, names: Sequence[str], model: Nima, shards: Sequence[Shard], plan: TrainingPlan
) -> Iterator[FrozenSource | None]:
    """Yields a source of the frozen blocks' outputs, which keeps in `store` what it computes, while the block runs.

    Yields None if nothing is the same twice: the plan augments, or freezes no block. The source raises
    `PreparationError` if an image cannot be decoded or is too small, and `ShardError` if a shard's file has changed.

    Args:
        store: folder of the content-addressed files.
        names: the hashes of the shards, in the order of `shards`.
        model: the model, whose trained blocks are set to the plan's.
        shards: the photos.
        plan: the plan of the training.
    """
    model.train_last(plan.trainable_blocks)
    if plan.augment or model.frozen_blocks == 0:
        yield None
        return
    side = model.preparation.input_size
    layout, frozen = RowLayout(model.frozen(torch.zeros(1, 3, side, side))), _hash_of_frozen(model)
    paths = [store / f"{_key(frozen, name)}{_SUFFIX}" for name in names]
    sizes = [len(shard) * (layout.row.itemsize + 1) for shard in shards]
    with ExitStack() as stack:
        files = [
            stack.enter_context(StoredRows(path, layout.row.itemsize, len(shard))) if fits else None
            for path, shard, fits in zip(paths, shards, _make_room(store, paths, sizes), strict=True)
        ]
        yield _Source(model, shards, layout, files).take


class _Source:
    """Gives the activations of photos: from the files, or computed and then kept there."""

    def __init__(
        self, model: Nima, shards: Sequence[Shard], layout: RowLayout, files: Sequence[StoredRows | None]
    ) -> None:
        self._model = model
        self._shards = shards
        self._places = image_places(shards).tolist()
        self._layout = layout
        self._files = files

    def take(self, batch: NDArray[np.int64]) -> Activations:
        """Returns the activations of the photos with these numbers, int64 `[B]`."""
        places = [self._places[number] for number in batch]
        size = self._layout.row.itemsize
        content = np.empty((len(places), size), np.uint8)
        rows = content.view(self._layout.row)[:, 0]
        missing = []
        for index, (shard, row) in enumerate(places):
            file = self._files[shard]
            if file is None or not file.read(row, content[index]):
                missing.append(index)
        if missing:
            rows[missing] = self._compute([places[index] for index in missing])
        return self._layout.activations_of(rows)

    def _compute(self, places: Sequence[Sequence[int]]) -> NDArray[np.void]:
        jpegs = [self._shards[shard].jpegs[row] for shard, row in places]
        pixels = self._model.preparation.central_crops(jpegs)
        rows = self._layout.rows_of(frozen_activations(self._model, pixels))
        for (shard, row), content in zip(places, rows, strict=True):
            file = self._files[shard]
            if file is not None:
                file.write(row, content.tobytes())
        return rows


def _make_room(store: Path, paths: Sequence[Path], sizes: Sequence[int]) -> list[bool]:
    """Returns for each of a job's files, at `paths` with `sizes` in bytes, if the store has room for it.

    Files of other jobs are deleted for it, beginning with the one that was not used for the longest time.
    """
    try:
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in store.glob(f"*{_SUFFIX}"))
        free = shutil.disk_usage(store).free
        limit = min(MOST_BYTES, sum(size for _, size, _ in found) + int(_FREE_SHARE * free))
        others = [(size, path) for _, size, path in found if path not in paths]
        taken = sum(size for size, _ in others)
        for size, path in others:
            if taken + sum(sizes) <= limit:
                break
            path.unlink()
            taken -= size
    except OSError:
        return [False] * len(paths)
    fits = []
    for size in sizes:
        fits.append(taken + size <= limit)
        taken += size if fits[-1] else 0
    return fits


def _hash_of_frozen(model: Nima) -> str:
    """Returns a hash of all that the outputs of the frozen blocks depend on, except for the photos."""
    about = (VERSION, torch.__version__, model.backbone, model.preparation, model.frozen_blocks)
    digest = hashlib.sha256(repr(about).encode())
    for module in (*model.blocks[: model.frozen_blocks], model.pool):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _key(frozen: str, shard: str) -> str:
    return hashlib.sha256(f"{frozen} {shard}".encode()).hexdigest()
