"""Keeps the outputs of the frozen blocks for later rounds, which differ in the trained blocks alone.

So a provider decodes its photos, and computes the frozen blocks, only once. The outputs lie in the store as
`<sha256>.activations`, named by the hash of all that they depend on. The file is the provider's own: if it is missing,
damaged or cannot be written, that only costs time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nima.model import Activations, Nima
from nima.safe_io import FileError, read_bounded, write_atomically
from nima.training import frozen_activations
from nima.version import VERSION
from nima.wire import Shard, TrainingPlan

_MAX_BYTES = 1 << 30


def keep_activations(
    store: Path, names: Sequence[str], model: Nima, shards: Sequence[Shard], plan: TrainingPlan
) -> Activations | None:
    """Returns `frozen_activations` of the shards: reads them from the store, or computes and keeps them there.

    Args:
        store: folder of the content-addressed files.
        names: the hashes of the shards, in the order of `shards`.

    Raises:
        PreparationError: an image cannot be decoded, or is too small.
    """
    model.train_last(plan.trainable_blocks)
    if plan.augment or model.frozen_blocks == 0:
        return None
    path = store / f"{_key(names, model)}.activations"
    kept = _read(path, sum(len(shard.jpegs) for shard in shards))
    if kept is not None:
        return kept
    computed = frozen_activations(model, shards, plan)
    if computed is not None:
        with suppress(OSError):  # a full disk
            write_atomically(path, _encode(computed))
    return computed


def _key(names: Sequence[str], model: Nima) -> str:
    digest = hashlib.sha256(f"{VERSION} {torch.__version__} {model.backbone} {model.frozen_blocks} {names}".encode())
    for module in (*model.blocks[: model.frozen_blocks], model.pool):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _encode(activations: Activations) -> bytes:
    levels = {f"level{number}": level.contiguous() for number, level in enumerate(activations.levels)}
    return save({"maps": activations.maps.contiguous(), **levels})


def _read(path: Path, images: int) -> Activations | None:
    try:
        tensors = load(read_bounded(path, _MAX_BYTES))
        maps = tensors.pop("maps")
        levels = tuple(tensors[f"level{number}"] for number in range(len(tensors)))
    except (FileError, SafetensorError, KeyError):
        return None
    if any(len(tensor) != images for tensor in (maps, *levels)):
        return None
    if maps.dim() == 4:  # the layout in which it was computed: another layout would change the order of sums
        maps = maps.contiguous(memory_format=torch.channels_last)
    return Activations(maps, levels)
