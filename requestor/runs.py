"""Puts a run together: configuration, folder, backend. The one place that knows all of them."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nima.ava import read_ratings
from nima.backbones import get
from nima.checkpoint import encode
from nima.features import max_bytes as max_feature_bytes
from nima.files import sha256_of
from nima.model import initial_model
from nima.prediction_table import PredictionTable
from nima.splits import Split, random_split, read_split
from nima.training_plan import default_plan
from nima.update import max_bytes, schema_of
from requestor.accounts import Accounts
from requestor.backends.base import Backend
from requestor.backends.local import LocalBackend
from requestor.config import HiringConfig, RunConfig, golem_environment
from requestor.errors import GolemError
from requestor.estimate import Assumptions, Sizes, Stage, estimate
from requestor.golem.gftp_program import our_gftp_on_path
from requestor.golem.networks import Connection, chosen_network, chosen_subnet, required_app_key
from requestor.image.chosen import ChosenImage, choose_image
from requestor.pipeline import TrainingRun
from requestor.prediction import Progress, predict_on
from requestor.progress import RunProgress
from requestor.run_dir import RunFolder
from requestor.sharding import SHARD_IMAGES, holdout_images
from requestor.strategies import STRATEGIES

EVALUATION_WORKERS = 3
EVALUATION_MAX_PRICE = Decimal(1)
MARKET_SECONDS = 5.0  # for which offers are listened to before a run is estimated
LARGEST_UPLOAD = 256 * 1024**2  # bytes that a provider may send as one file; the largest backbone's update has 172 MB
TEST_SHARE = 0.1  # of the photos, where there is no list of test ids


def image_for(backend: str, environment: dict[str, str]) -> ChosenImage | None:
    """The image that the backend hires for, if it hires.

    Raises AppKeyMissing and ConfigurationError where variables are missing or wrong; ImageMismatch for an image of
    another version.
    """
    if backend != "golem":
        return None
    required_app_key(environment)
    return choose_image(environment)


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
    get(backbone)
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
    split = test_split(config.ava, test_ids, config.seed)
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
    return TrainingRun(config, folder, open_backend(config, folder, environment, image), split, progress), progress


def log_to(path: Path) -> None:
    """Everything that yapapi and we have to say goes into the run's folder; the terminal is for people."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for name in ("requestor", "yapapi"):
        logging.getLogger(name).setLevel(logging.DEBUG)


def test_split(ava: Path, chosen: Path | None, seed: int) -> Split:
    """The photos to test on: a chosen list, or the data set's own, or a random tenth."""
    listed = chosen or ava / "splits" / "test.txt"
    if chosen is not None or listed.exists():
        return read_split(listed)
    return random_split(read_ratings(ava).image_ids, seed, TEST_SHARE)


def estimate_run(
    ava: Path,
    test_ids: Path | None,
    backbone: str,
    strategy: str,
    rounds: int | None,
    workers: int,
    seed: int,
    assumptions: Assumptions,
) -> list[Stage]:
    """What a run with these options would do and cost; reads AVA.txt only."""
    chosen = STRATEGIES[strategy]
    image_ids = read_ratings(ava).image_ids
    tested = int(np.isin(image_ids, test_split(ava, test_ids, seed).image_ids).sum())
    train_images = len(image_ids) - tested - holdout_images(len(image_ids) - tested)
    model = initial_model(backbone, None, seed, multi_level=True)
    trained = schema_of(model.trainable_parameters(default_plan(1, seed, chosen.blocks).trainable_blocks))
    features = max_feature_bytes(SHARD_IMAGES, model.head.in_features) // SHARD_IMAGES
    sizes = Sizes(len(encode(model, {})), max_bytes(trained), features)
    return estimate(train_images, tested, chosen, chosen.rounds_for(rounds), workers, sizes, assumptions)


def market_assumptions(network: str | None, subnet: str | None, workers: int, max_price: Decimal) -> Assumptions:
    """What providers ask now, where a daemon runs that can be asked; otherwise what they are supposed to ask."""
    from requestor.golem.market import scan_offers

    usual, environment = Assumptions(), golem_environment()
    if not environment.get("YAGNA_APPKEY"):
        return usual
    connection = Connection.from_environment(environment, network)
    subnet = chosen_subnet(environment, subnet)
    try:
        offers = asyncio.run(scan_offers(connection, subnet, MARKET_SECONDS))
    except GolemError as error:
        return replace(usual, priced_by=f"what Golem suggests to providers, as the market could not be asked: {error}")
    affordable = [offer for offer in offers if offer.first_hour <= max_price]
    if not affordable:
        asked = f"none of {len(offers)} offers in subnet {subnet} is below --max-price"
        return replace(usual, priced_by=f"what Golem suggests to providers, as {asked}")
    return usual.at_market(affordable, workers, f"offers in subnet {subnet} now")


def predict_with(
    backend: str, budget: Decimal | None, model: Path, ava: Path, image_ids: NDArray[np.int64], progress: Progress
) -> PredictionTable:
    """Predictions of a model from a backend's providers; the folder `runs/evaluate-…` keeps what was sent and paid."""
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
    chosen = open_backend(config, folder, environment, image)
    return asyncio.run(predict_on(chosen, model, ava, image_ids, folder.path / "store", progress))


def open_backend(
    config: HiringConfig, folder: RunFolder, environment: dict[str, str], image: ChosenImage | None
) -> Backend:
    """The backend that a configuration names; it puts what comes back into the folder's inbox.

    image: what to hire for; None where nobody is hired.
    """
    inbox = folder.path / "inbox"
    if image is None:
        return LocalBackend(config.workers, inbox)
    # yapapi takes seconds to import, and needs to be there for this backend only.
    from requestor.backends.golem import GolemBackend
    from requestor.golem.settings import GolemSettings

    settings = GolemSettings(
        connection=Connection.from_environment(environment, config.network),
        subnet=config.subnet,
        image=image.package,
        image_checked=image.info is not None,
        image_models=image.models,
        python=image.python,
        max_price=config.max_price,
        environment=_gftp_environment(environment, folder.path / "bin"),
    )
    return GolemBackend(settings, Accounts(config.budget, folder.ledger), config.workers, inbox)


def _gftp_environment(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """What yapapi's `gftp` process needs: the service bus, and ours on PATH, since Golem's own takes in any size."""
    variables = {name: environment[name] for name in ("GSB_URL", "YAGNA_DATADIR") if name in environment}
    return variables | our_gftp_on_path(folder, LARGEST_UPLOAD)
