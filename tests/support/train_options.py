"""Makes the options of `nima-golem train` for tests, as the command would without any other option."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from requestor.training.options import TrainOptions


def train_options(ava: Path, **chosen: Any) -> TrainOptions:
    """Makes the options of a local run on `ava`; `chosen` replaces some of them."""
    options: dict[str, Any] = {
        "ava": ava, "budget": Decimal("0.5"), "backend": "local", "backbone": "mobilenet_v3_small",
        "strategy": "federate", "rounds": None, "aggregation": "mean", "proximal": 0.0, "workers": 2,
        "max_price": Decimal(1), "test_ids": None, "run_dir": None, "network": None, "subnet": None, "seed": 0,
    }  # fmt: skip
    return TrainOptions(**{**options, **chosen})
