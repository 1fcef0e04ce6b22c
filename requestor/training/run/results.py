"""Writes the results of a run into its folder: the model with its card, the predictions, the receipt, the report."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nima.ava import PREDICTION_COLUMNS, Split
from nima.model import checkpoint, front_matter, model_card
from nima.safe_io import write_atomically
from requestor.records import Receipt, RunFolder, TrainingState, describe_open_bills, describe_payments
from requestor.training import RunConfig
from requestor.training.data import Dataset
from requestor.training.report import write_report


def write_results(
    config: RunConfig,
    folder: RunFolder,
    split: Split,
    dataset: Dataset,
    state: TrainingState,
    evaluation: dict[str, Any],
    receipts: Sequence[Receipt],
) -> dict[str, Any]:
    """Writes all results and returns the summary. The summary is written last: a run that has one is finished."""
    spent = sum((receipt.paid_glm for receipt in receipts), Decimal(0))
    metrics = evaluation["metrics"]
    providers = [receipt.to_json() for receipt in receipts]
    start, data = folder.read("base.json")["weights"], folder.read("data.json")
    metadata = {
        "name": f"NIMA, {config.backbone}, trained on {data['name']}",
        "backbone": config.backbone,
        "data": data["name"],
        "dataset": data,
        "split": split.as_json(),
        "train_images": dataset.train_images,
        "starting_weights": start["name"],
        "starting_weights_source": start["from"],
        "starting_weights_sha256": start["sha256"],
        "licence": start["licence"],
        "backend": config.backend,
        "strategy": config.strategy.name,
        "rounds": state.round,
        "best_round": state.best_round,
        "ended_because": state.ended_because,
        "seed": config.seed,
        "spent_glm": str(spent),
        "providers": providers,
        "metrics": metrics,
        "intervals": evaluation["intervals"],
        "audited": evaluation.get("audited"),
        "history": [dict(entry.holdout) for entry in folder.metrics() if entry.holdout is not None],
    }
    validation = evaluation.get("cross_validation")
    if validation is not None:
        metadata["cross_validation"] = validation
    if "score_quantiles" in evaluation:  # earlier versions did not record them
        metadata["score_quantiles"] = evaluation["score_quantiles"]
    model, _ = checkpoint.load(folder.checkpoint(state.best_round))
    model_file = folder.path / "model.safetensors"
    checkpoint.save(model_file, model, metadata)
    write_atomically(folder.path / "MODEL_CARD.md", (front_matter(metadata) + model_card(metadata)).encode())
    folder.write("receipt.json", {"spent_glm": str(spent), "providers": providers})
    summary = {
        "model": str(model_file),
        "run_dir": str(folder.path),
        "backend": config.backend,
        "strategy": config.strategy.name,
        "rounds": state.round,
        "best_round": state.best_round,
        "ended_because": state.ended_because,
        "worse_than_constant": metrics["emd_r1"] >= metrics["constant_emd_r1"],
        "budget_glm": float(config.budget),
        "spent_glm": float(spent),
        "providers": [
            {name: float(value) if name.endswith("_glm") else value for name, value in provider.items()}
            for provider in providers
        ],
        "open_bills": describe_open_bills(receipts),
        "payments": describe_payments(receipts) if config.backend == "golem" else None,
        "metrics": {
            "srcc": metrics["srcc_mean"],
            "lcc": metrics["lcc_mean"],
            **{name: metrics[name] for name in ("srcc_std", "lcc_std", "emd_r1", "emd_r2", "constant_emd_r1", "n")},
        },
        "intervals": evaluation["intervals"],
        "audited": evaluation.get("audited"),
        "cross_validation": validation,
        "split": split.as_json(),
        "seconds": round(state.seconds, 1),
    }
    write_report(folder.path)
    folder.write("summary.json", summary)
    return summary


def write_predictions(path: Path, image_ids: NDArray[np.int64], predicted: NDArray[np.float32]) -> None:
    """Writes a CSV file with the columns image_id, p1 … p10, sorted by id, for `nima-golem evaluate --predictions`.

    Args:
        path: the file to write, atomically.
        image_ids: int64 `[n]`.
        predicted: probabilities of the ratings 1 to 10, float32 `[n, 10]`.
    """
    table = pd.DataFrame(predicted, columns=PREDICTION_COLUMNS[1:])
    table.insert(0, PREDICTION_COLUMNS[0], image_ids)
    write_atomically(path, table.sort_values(PREDICTION_COLUMNS[0]).to_csv(index=False).encode())
