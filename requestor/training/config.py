"""Holds the configuration of a training run: its options, with a value for each that the user did not set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requestor.backends import HiringConfig
from requestor.errors import ConfigurationError
from requestor.golem import chosen_network, chosen_subnet
from requestor.planning import check_memory
from requestor.training.options import TrainOptions
from requestor.training.strategies import STRATEGIES, Strategy


@dataclass(frozen=True, kw_only=True)
class RunConfig(HiringConfig):
    """Holds the values that decide what a training run does.

    Attributes:
        ava: folder with `AVA.txt` and `images/<id>.jpg`.
        run_dir: folder of the run.
        backbone: a name of `nima.model.backbones`.
        strategy: decides what providers compute, and what is trained from it.
        rounds: federated rounds; 0 where the strategy has none; None if they go on until they no longer help.
        blocks: number of the backbone's last blocks that rounds train; -1 for all.
        hours: time that the run may take; None for no limit.
        aggregation: name of the rule that makes a step of the model from a round's updates, a key of
            `requestor.training.rounds.aggregation.AGGREGATION_RULES`.
        proximal: FedProx's mu, at least 0.
        seed: seed of everything that is random.
        audit: share of the providers' work that is computed again on this machine, 0 to 1.
        start: the NIMA that the run goes on from: a name in the table of weights, or an absolute path; None for the
            backbone's weights of ImageNet.
    """

    ava: Path
    run_dir: Path
    backbone: str
    strategy: Strategy
    rounds: int | None
    blocks: int
    hours: float | None
    aggregation: str
    proximal: float
    seed: int
    audit: float
    start: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend == "golem":
            check_memory(self.backbone, self.blocks)
        if not (self.ava / "AVA.txt").is_file():
            raise ConfigurationError(
                f"{self.ava / 'AVA.txt'} does not exist: --ava must name a folder with AVA.txt and images/."
            )
        if not (self.ava / "images").is_dir():
            raise ConfigurationError(
                f"{self.ava / 'images'} does not exist: --ava must name a folder with AVA.txt and images/."
            )

    @classmethod
    def of(cls, options: TrainOptions, environment: Mapping[str, str]) -> RunConfig:
        """Decides what the options leave to the strategy, to the environment and to this program.

        Raises ConfigurationError if AVA is missing, the network does not exist, or the strategy has no rounds.
        """
        strategy = STRATEGIES[options.strategy]
        begun = options.backbone if options.start is None else Path(options.start).stem
        return cls(
            ava=options.ava,
            run_dir=options.run_dir or Path("runs") / f"{options.ava.resolve().name}-{begun}-{options.seed}",
            backend=options.backend,
            budget=options.budget,
            backbone=options.backbone,
            strategy=strategy,
            rounds=strategy.rounds_for(options.rounds),
            blocks=strategy.blocks_for(options.blocks),
            hours=options.hours,
            aggregation=options.aggregation,
            proximal=options.proximal,
            workers=options.workers,
            max_price=options.max_price,
            network=chosen_network(environment, options.network),
            subnet=chosen_subnet(environment, options.subnet),
            seed=options.seed,
            audit=options.audit,
            start=options.start,
        )

    def identity(self) -> dict[str, Any]:
        """Returns the options that must not change when a run goes on: with others, it would be another run.

        All other options may change: those for money, for the choice of providers, and for the rounds that follow.
        """
        identity = {"ava": str(self.ava.resolve()), "backbone": self.backbone, "seed": self.seed}
        return identity if self.start is None else {**identity, "start": self.start}
