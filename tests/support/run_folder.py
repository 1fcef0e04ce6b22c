"""Makes the folder of a training run for tests, in the format that runs write, but without training."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
from train_options import train_options

from nima.ava.ratings_list import read_ratings
from nima.ava.splits import read_split
from nima.model import checkpoint
from nima.model.network import initial_model
from nima.ratings.distribution import normalise_votes
from nima.ratings.metrics import RatingPairs
from requestor.records.folder import RunFolder
from requestor.records.round_record import OutcomeEntry, RoundEntry
from requestor.records.state import TrainingState
from requestor.training.run.results import write_predictions

PRICE = "0 0.000007 0.0000014"


def update(provider: str | None, kind: str = "admitted", verdict: str = "admitted", **fields: Any) -> OutcomeEntry:
    """Makes one entry of a round; a provider's id is its name."""
    given = {"samples": 320, "loss": 0.06, "seconds": 4.0, **fields}
    return OutcomeEntry(kind, verdict, provider=provider, provider_id=provider, **given)


def start_run(path: Path, ava: Path, backend: Literal["golem", "local"] = "golem", rounds: int = 3) -> RunFolder:
    """Makes a run in which no round is done yet."""
    folder = RunFolder(path, {"ava": str(ava), "backbone": "mobilenet_v3_small", "seed": 0})
    options = train_options(ava, backend=backend, rounds=rounds, run_dir=path)
    folder.write("options.json", options.to_json())
    TrainingState(wanted=rounds).write(folder)
    return folder


def add_round(folder: RunFolder, ava: Path, number: int, updates: list[OutcomeEntry], spent: str = "0") -> None:
    """Adds a round that moved the model a little nearer to the ratings than the round before."""
    holdout = _pairs(ava, number).metrics().as_dict()
    folder.append_metrics(RoundEntry(number, True, tuple(updates), 0.08 / number, holdout, Decimal(spent)))


def pay(folder: RunFolder, provider: str, amount: Decimal) -> None:
    """Writes an agreement, a task and a bill to the ledger."""
    agreement = f"of {provider}"
    folder.ledger.record("agreement", agreement=agreement, provider=provider, name=provider, price=PRICE, threads=4)
    folder.ledger.record("task", agreement=agreement, job="round-0001-client-0000", ok=True)
    folder.ledger.record("invoice", agreement=agreement, amount=amount)


def finish_run(folder: RunFolder, ava: Path) -> None:
    """Writes the evaluation and the model, with the metadata that `requestor.training.run.results` gives it."""
    split = read_split(ava / "splits" / "test.txt")
    pairs = _pairs(ava, 9, split.image_ids.tolist())
    write_predictions(folder.path / "predictions.csv", split.image_ids, pairs.predicted.astype(np.float32))
    evaluation = {"metrics": pairs.metrics().as_dict(), "intervals": pairs.intervals(50)}
    folder.write("evaluation.json", evaluation)
    metadata = {
        "name": "NIMA",
        "backbone": "mobilenet_v3_small",
        "data": ava.name,
        "split": {"name": split.name, "hash": split.hash},
        "train_images": 34,
        "starting_weights": "none",
        "licence": "BSD-3-Clause",
        "rounds": 3,
        "best_round": 3,
        **evaluation,
    }
    checkpoint.save(folder.path / "model.safetensors", initial_model("mobilenet_v3_small", None, seed=1), metadata)
    receipts = [receipt.to_json() for receipt in folder.ledger.receipts()]
    folder.write("receipt.json", {"spent_glm": str(folder.ledger.spent()), "providers": receipts})


def _pairs(ava: Path, skill: int, image_ids: list[int] | None = None) -> RatingPairs:
    """Makes predictions between the ratings of other photos and the right ones; with more skill, nearer to these."""
    ratings = read_ratings(ava)
    rated = normalise_votes(ratings.votes if image_ids is None else ratings.select(image_ids).votes)
    share = skill / (skill + 3)
    return RatingPairs.of(share * rated + (1 - share) * np.roll(rated, 1, axis=0), rated)
