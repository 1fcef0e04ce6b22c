"""Puts a run together: configuration, folder, backend. The one place that knows all of them."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from nima.model import find_backbone
from requestor.backends import image_for, open_backend
from requestor.evaluation import chosen_test_split
from requestor.golem import chosen_network, chosen_subnet
from requestor.records import RunFolder, log_to
from requestor.setup import golem_environment
from requestor.terminal import RunProgress
from requestor.training import STRATEGIES, RunConfig
from requestor.training.run.pipeline import TrainingRun


def open_run(
    *,
    ava: Path,
    budget: Decimal,
    backend: str,
    backbone: str,
    strategy: str,
    rounds: int | None,
    aggregation: str,
    proximal: float,
    workers: int,
    max_price: Decimal,
    test_ids: Path | None,
    run_dir: Path | None,
    network: str | None,
    subnet: str | None,
    seed: int,
) -> tuple[TrainingRun, RunProgress]:
    """The run that these options describe, new or resumed, ready to go; nothing has been spent yet.

    Raises RequestorError and NimaError for everything that can be known to be wrong before the first provider is asked.
    """
    environment = golem_environment() if backend == "golem" else dict(os.environ)
    find_backbone(backbone)
    chosen = STRATEGIES[strategy]
    config = RunConfig(
        ava=ava,
        run_dir=run_dir or Path("runs") / f"{ava.resolve().name}-{backbone}-{seed}",
        backend="golem" if backend == "golem" else "local",
        budget=budget,
        backbone=backbone,
        strategy=chosen,
        rounds=chosen.rounds_for(rounds),
        aggregation=aggregation,
        proximal=proximal,
        workers=workers,
        max_price=max_price,
        network=chosen_network(environment, network),
        subnet=chosen_subnet(environment, subnet),
        seed=seed,
    )
    split = chosen_test_split(config.ava, test_ids, config.seed)
    image = image_for(backend, environment)
    folder = RunFolder(config.run_dir, {**config.identity(), "split": split.hash})

    options = {
        "ava": ava.resolve(), "budget": budget, "backend": backend, "backbone": backbone,
        "strategy": strategy, "rounds": rounds, "aggregation": aggregation, "proximal": proximal, "workers": workers,
        "max_price": max_price, "test_ids": test_ids and test_ids.resolve(), "network": network, "subnet": subnet,
        "seed": seed,
    }  # fmt: skip
    folder.write("options.json", {name: None if value is None else str(value) for name, value in options.items()})
    log_to(folder.path / "log.txt")

    progress = RunProgress()
    chosen_backend = open_backend(config, folder.path, folder.ledger, environment, image)
    return TrainingRun(config, folder, chosen_backend, split, progress), progress
