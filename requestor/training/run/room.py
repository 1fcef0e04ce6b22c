"""Checks, before any photo is read, that the disk of a run's folder has room for what the run will write."""

from __future__ import annotations

import shutil
from pathlib import Path

from nima.model import checkpoint
from nima.wire import max_features_bytes
from requestor.errors import RunFolderError
from requestor.training import Assumptions, RunConfig, model_like

_ASSUMED_ROUNDS = 3  # number of rounds of a run that goes on until they no longer help
_SMALL_FILES = 5_000_000  # bytes of report, log and tables


def bytes_of_run(config: RunConfig, images: int) -> int:
    """Estimates the bytes that a finished run has on disk: shards, features, models, and the updates of one round.

    Args:
        config: the configuration of the run.
        images: number of all photos, also those of the hold-out and of the test.
    """
    model = model_like(config.backbone, config.start)
    features = max_features_bytes(images, model.head.in_features) if config.strategy.embeds else 0
    rounds = _ASSUMED_ROUNDS if config.rounds is None else config.rounds
    # The base, the embedding's, the one that is evaluated and the result; a checkpoint, and the optimiser's state, of
    # each round; an update of each worker. An update is as large as the model at most.
    models = 4 + 2 * rounds + (config.workers if rounds else 0)
    return images * Assumptions().photo_bytes + features + models * len(checkpoint.encode(model, {})) + _SMALL_FILES


def require_room(folder: Path, needed: int) -> None:
    """Checks that a run's folder can grow to `needed` bytes. The folder need not exist yet.

    Raises RunFolderError, which tells both sizes, if its disk has less room.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free, missing = shutil.disk_usage(place).free, needed - written
    if free < missing:
        raise RunFolderError(
            f"The run needs about {missing / 1e6:,.0f} MB in {folder}, and {free / 1e6:,.0f} MB are free there: delete "
            "files, or choose a --run-dir on another disk."
        )
