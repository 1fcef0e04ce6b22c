"""Has providers compute a model's predictions in a run that does nothing else."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.ava import PredictionTable
from nima.safe_io import sha256_of
from requestor.backends import HiringConfig, image_for, open_backend
from requestor.evaluation.prediction import Progress, predict_on
from requestor.golem import chosen_network, chosen_subnet
from requestor.records import RunFolder, log_to
from requestor.setup import golem_environment
from requestor.terminal import ENDING_AGREEMENTS, run_until_stopped

EVALUATION_WORKERS = 3  # number of providers that work at the same time
EVALUATION_MAX_PRICE = Decimal(1)  # GLM that the first hour of one provider may cost at full load


def predict_on_backend(
    backend: str, budget: Decimal | None, model: Path, ava: Path, image_ids: NDArray[np.int64], progress: Progress
) -> PredictionTable:
    """Has a backend's providers compute predictions; the folder `runs/evaluate-…` keeps the files and the payments.

    Args:
        backend: "golem" or "local".
        budget: GLM that may leave the wallet; None if nothing is paid.
        model: a checkpoint.
        ava: folder with `AVA.txt` and `images/<id>.jpg`.
        image_ids: the photos, int64 `[n]`.
        progress: is called with the numbers of photos done and of all photos.

    Raises RequestorError and NimaError if the run cannot be started, and the errors of `predict_on`.
    """
    environment = golem_environment() if backend == "golem" else dict(os.environ)
    image = image_for(backend, environment)
    config = HiringConfig(
        backend="golem" if backend == "golem" else "local",
        workers=EVALUATION_WORKERS,
        budget=budget or Decimal(0),
        max_price=EVALUATION_MAX_PRICE,
        network=chosen_network(environment),
        subnet=chosen_subnet(environment),
    )
    identity = {"model": sha256_of(model), "ava": str(ava.resolve())}
    folder = RunFolder(Path("runs") / f"evaluate-{identity['model'][:12]}-{ava.resolve().name}", identity)
    log_to(folder.path / "log.txt")
    chosen = open_backend(config, folder.path, folder.ledger, environment, image)
    work = predict_on(chosen, model, ava, image_ids, folder.path / "store", progress, EVALUATION_WORKERS)
    stopped = f"The evaluation is stopped; its payments are in {folder.path / 'ledger.jsonl'}."
    return asyncio.run(run_until_stopped(work, lambda: None, stopped, ENDING_AGREEMENTS))
