"""Photos are decoded, and put through the frozen blocks, once a provider: rounds differ in the trained blocks alone.

What the frozen blocks make of the photos lies in the store beside them, as `<sha256>.activations` with the hash of all
that it depends on. It is the provider's own file: one that is missing, damaged or cannot be written costs time only.
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
    """`frozen_activations` of the shards called `names`, from the store where an earlier job has left them there."""
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
    if maps.dim() == 4:  # as it was computed: otherwise the same numbers would be added up in another order
        maps = maps.contiguous(memory_format=torch.channels_last)
    return Activations(maps, levels)
