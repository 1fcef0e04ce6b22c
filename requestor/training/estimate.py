"""Estimates the traffic, time and cost of a run before anything is spent, from assumptions that it names."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from nima.ava import read_ratings
from nima.model import checkpoint, initial_model
from nima.wire import default_plan, max_update_bytes, schema_of
from nima.wire import max_features_bytes as max_feature_bytes
from requestor.backends import offer_filter
from requestor.errors import GolemError
from requestor.evaluation import chosen_test_split
from requestor.golem import GolemConnection, Offer, chosen_subnet, survey_market
from requestor.money import BILLING_SLACK, EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, Price, show_glm
from requestor.setup import golem_environment
from requestor.terminal import Column, show_duration, table_lines, terminal_width
from requestor.training.data import SHARD_IMAGES, holdout_images
from requestor.training.options import TrainOptions
from requestor.training.providers import ban_list
from requestor.training.strategies import STRATEGIES, Strategy

MARKET_SECONDS = 5.0  # time for which offers are collected before a run is estimated
HOUR = Decimal(3600)
# The prices that yagna suggests to providers (golemsp): GLM for an hour, and for a CPU hour.
GOLEM_DEFAULT_PRICE = Price(Decimal(0), Decimal("0.005") / HOUR, Decimal("0.025") / HOUR)


@dataclass(frozen=True)
class Assumptions:
    """Holds the values that are not known before a run.

    Attributes:
        images_a_core_second: photos that one core computes in a second with MobileNetV2's frozen blocks, the head's
            training included.
        tuned_images_a_core_second: the same in a round that trains MobileNetV2's last three blocks, too.
        job_seconds: seconds that the program needs to start on a provider, most of them for the import of torch.
        uplink, downlink: bytes a second from this machine to all providers together, and back.
        photo_bytes: bytes of one photo at 256 px.
        threads: number of threads that a provider has, and bills.
        price: price of a provider.
        priced_by: the source of `threads` and `price`, as text for people.
    """

    images_a_core_second: float = 30.0
    tuned_images_a_core_second: float = 10.0
    job_seconds: float = 4.0
    uplink: float = 20e6 / 8
    downlink: float = 100e6 / 8
    photo_bytes: int = 20_000
    threads: int = 4
    price: Price = GOLEM_DEFAULT_PRICE
    priced_by: str = "what Golem suggests to providers; nobody was asked"

    def at_market(self, offers: Sequence[Offer], workers: int, where: str) -> Assumptions:
        """Returns the same assumptions with the mean price and the mean threads of the cheapest offers.

        Args:
            offers: one or more offers.
            workers: number of providers that will be hired, and of offers that count.
            where: the source of the offers, as text for people.
        """
        cheapest = sorted(offers, key=lambda offer: offer.first_hour)[:workers]
        prices, count = [offer.price for offer in cheapest], len(cheapest)
        price = Price(
            sum((price.start for price in prices), Decimal(0)) / count,
            sum((price.wall_second for price in prices), Decimal(0)) / count,
            sum((price.cpu_second for price in prices), Decimal(0)) / count,
        )
        threads = round(sum(offer.threads for offer in cheapest) / count)
        return replace(self, price=price, threads=threads, priced_by=f"the {count} cheapest of {len(offers)} {where}")


ASSUMED_ROUNDS = 3  # number of rounds that are assumed where they go on until they no longer help
# SRCC of predicted and rated means on the 150 test photos of tiny-AVA, with each strategy's own number of rounds
# (`scripts/bench strategies`, docs/strategies.md). Nobody has measured what the rounds of a budget reach on AVA.
TINY_AVA_SRCC = {"auto": 0.888, "embed": 0.884, "federate": 0.877, "fine-tune": 0.888}
PUBLISHED_AVA_SRCC = (
    (0.510, "a MobileNet that was trained as a whole (NIMA, arXiv 1709.05424)"),
    (0.756, "a head on multi-level features of a larger network at full size (MLSP, arXiv 1904.01382)"),
)


@dataclass(frozen=True)
class Stage:
    """One stage of a run, as estimated.

    name: name for people.
    sent, received: bytes that this machine sends to all providers, and receives from them.
    seconds: wall time.
    glm: cost of all providers.
    """

    name: str
    sent: int
    received: int
    seconds: float
    glm: Decimal


@dataclass(frozen=True)
class Sizes:
    """Holds the sizes of the files that are transferred, in bytes.

    base: the base model. A file of this size is sent to every provider twice: the model to begin with, and the trained
        model for the evaluation.
    update: the trained weights, which are sent to every provider in every round; an update of the same size comes back.
    features: the features of one photo.
    """

    base: int
    update: int
    features: int


def estimate_stages(
    train_images: int,
    test_images: int,
    strategy: Strategy,
    rounds: int,
    workers: int,
    sizes: Sizes,
    assumptions: Assumptions,
) -> list[Stage]:
    """Estimates the stages of a run, in order.

    Args:
        train_images, test_images: number of photos that are sent to providers for training, and for the test.
        rounds: number of federated rounds; 0 if there are none.
        workers: number of providers, among whom the photos are divided evenly.
    """
    a = assumptions

    def stage(
        name: str, sent: int, received: int, images: int, jobs: int, speed: float = a.images_a_core_second
    ) -> Stage:
        computing = jobs * a.job_seconds + images / workers / speed / a.threads
        seconds = sent / a.uplink + received / a.downlink + computing
        # Every provider bills the wall time of the whole stage, but CPU time only for its computing.
        cpu = workers * computing * a.threads
        glm = Decimal(str(workers * seconds)) * a.price.wall_second + Decimal(str(cpu)) * a.price.cpu_second
        return Stage(name, sent, received, seconds, glm)

    first = stage("hire and send the photos", train_images * a.photo_bytes + workers * sizes.base, 0, 0, 0)
    stages = [replace(first, glm=first.glm + workers * a.price.start)]
    if strategy.embeds:
        jobs = math.ceil(train_images / workers / SHARD_IMAGES)
        stages.append(stage("embed", 0, train_images * sizes.features, train_images, jobs))
    if rounds:
        exchanged = rounds * workers * sizes.update
        speed = a.tuned_images_a_core_second if strategy.blocks else a.images_a_core_second
        name = f"{rounds} round{'' if rounds == 1 else 's'}"
        stages.append(stage(name, exchanged, exchanged, rounds * train_images, rounds, speed))
    stages.append(stage("evaluate", test_images * a.photo_bytes + workers * sizes.base, 0, test_images, 1))
    return stages


def estimate_run(options: TrainOptions, assumptions: Assumptions) -> list[Stage]:
    """Estimates the stages of a run with these options; of the photos' folder, it reads lists of ids and votes only."""
    strategy, seed = STRATEGIES[options.strategy], options.seed
    image_ids = read_ratings(options.ava).image_ids
    tested = int(np.isin(image_ids, chosen_test_split(options.ava, options.test_ids, seed).image_ids).sum())
    train_images = len(image_ids) - tested - holdout_images(len(image_ids) - tested)
    model = initial_model(options.backbone, None, seed, multi_level=True)
    trained = schema_of(model.trainable_parameters(default_plan(1, seed, strategy.blocks).trainable_blocks))
    features = max_feature_bytes(SHARD_IMAGES, model.head.in_features) // SHARD_IMAGES
    sizes = Sizes(len(checkpoint.encode(model, {})), max_update_bytes(trained), features)
    wanted = strategy.rounds_for(options.rounds)
    rounds = ASSUMED_ROUNDS if wanted is None else wanted
    return estimate_stages(train_images, tested, strategy, rounds, options.workers, sizes, assumptions)


def market_assumptions(options: TrainOptions) -> Assumptions:
    """Asks the market what providers cost now, and returns assumptions with these prices.

    If there is no daemon, if the market cannot be asked, or if no offer is within `options.max_price`, the prices that
    Golem suggests to providers are assumed.
    """
    usual, environment = Assumptions(), golem_environment()
    if not environment.get("YAGNA_APPKEY"):
        return usual
    connection = GolemConnection.from_environment(environment, options.network)
    subnet = chosen_subnet(environment, options.subnet)
    try:
        banned = ban_list().read()
        wanted = offer_filter(connection, subnet, options.max_price, banned.__contains__)
        survey = asyncio.run(survey_market(connection, wanted, MARKET_SECONDS))
    except GolemError as error:
        return replace(usual, priced_by=f"what Golem suggests to providers, as the market could not be asked: {error}")
    if not survey.taken:
        asked = f"nobody in subnet {subnet} would be hired: {survey.describe()}"
        return replace(usual, priced_by=f"what Golem suggests to providers, as {asked}")
    return usual.at_market(survey.taken, options.workers, f"offers in subnet {subnet} now")


def as_json(stages: list[Stage], assumptions: Assumptions, strategy: Strategy) -> dict[str, Any]:
    """Returns the estimate for `--json`: the stages, their sums, the assumptions, and the SRCC to expect."""
    rows = [{**asdict(stage), "glm": float(stage.glm)} for stage in stages]
    return {
        "stages": rows,
        "sent": sum(stage.sent for stage in stages),
        "received": sum(stage.received for stage in stages),
        "seconds": sum(stage.seconds for stage in stages),
        "glm": float(sum((stage.glm for stage in stages), Decimal(0))),
        "assumptions": {**asdict(assumptions), "price": assumptions.price.to_text()},
        "srcc": {
            "measured_on_tiny_ava": TINY_AVA_SRCC[strategy.name],
            "published_on_ava": [{"srcc": srcc, "of": model} for srcc, model in PUBLISHED_AVA_SRCC],
        },
    }


def least_budget(workers: int, assumptions: Assumptions) -> Decimal:
    """Returns the GLM that a budget needs at least, so that every provider can be given a task.

    It is the most that the shortest attempts of all providers together may cost, plus the evaluation's reserve.
    """
    worst = assumptions.price.at_most(SHORTEST_ATTEMPT_SECONDS + BILLING_SLACK, assumptions.threads)
    return workers * worst / (1 - EVALUATION_RESERVE)


def for_people(
    stages: list[Stage], assumptions: Assumptions, budget: Decimal, strategy: Strategy, workers: int
) -> list[str]:
    """Returns the estimate as lines for people: stages, sum and budget, assumptions, and how good a model to expect."""
    total = sum((stage.glm for stage in stages), Decimal(0))
    in_all = Stage(
        "in all", sum(s.sent for s in stages), sum(s.received for s in stages), sum(s.seconds for s in stages), total
    )
    a = assumptions
    price = a.price
    rows = []
    for stage in [*stages, in_all]:
        megabytes = (f"{stage.sent / 1e6:.1f} MB", f"{stage.received / 1e6:.1f} MB")
        rows.append([stage.name, *megabytes, show_duration(stage.seconds), f"{stage.glm:.5f}"])
    columns = (Column("stage"), *(Column(heading, "right") for heading in ("sent", "received", "time", "GLM")))
    lines = [
        *table_lines(columns, rows, terminal_width()),
        "",
        f"That is {total / budget:.1%} of the budget of {show_glm(budget)}. It assumes:",
        f"  providers with {a.threads} thread{'' if a.threads == 1 else 's'} "
        f"at {price.cpu_second * HOUR:.3f} GLM a CPU hour and "
        f"{price.wall_second * HOUR:.3f} GLM an hour, {price.start.normalize():f} GLM to start ({a.priced_by});",
        f"  {a.images_a_core_second:.0f} photos a core and second, {a.tuned_images_a_core_second:.0f} where blocks are "
        f"trained, {a.job_seconds:.0f} s to start a job;",
        f"  {a.uplink * 8 / 1e6:.0f} Mbit/s from here, {a.downlink * 8 / 1e6:.0f} to here, "
        f"{a.photo_bytes / 1000:.0f} kB a photo.",
        "",
        f"How good a model to expect: on tiny-AVA this strategy reached a test SRCC of "
        f"{TINY_AVA_SRCC[strategy.name]:.3f}. On AVA it was not measured; published there are",
        *(f"  {srcc:.3f} of {model}" for srcc, model in PUBLISHED_AVA_SRCC),
    ]
    if (least := least_budget(workers, assumptions)) > budget:
        lines += [
            "",
            f"It does not fit: so that {workers} providers can be sure to be paid for their first task, however long "
            f"they take, it needs {show_glm(least)}.",
        ]
    elif total > budget:
        lines += ["", "It does not fit: training stops when the money is gone, with what it has reached by then."]
    return lines
