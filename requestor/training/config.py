"""One frozen configuration of a training run, validated once; options, environment and file all end here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requestor.backends import HiringConfig
from requestor.errors import ConfigurationError
from requestor.training.strategies import Strategy


@dataclass(frozen=True, kw_only=True)
class RunConfig(HiringConfig):
    """What `nima-golem train` was asked to do.

    Attributes:
        ava: folder with `AVA.txt` and `images/<id>.jpg`.
        run_dir: where the run lives.
        backbone: a name of `nima.model.backbones`.
        strategy: what providers compute, and what is trained from it.
        rounds: federated rounds; 0 where the strategy has none.
        aggregation: how a round's updates become a step of the model, a name of
            `requestor.training.rounds.aggregation.AGGREGATION_RULES`.
        proximal: FedProx's mu, at least 0.
        seed: of everything that is random.
    """

    ava: Path
    run_dir: Path
    backbone: str
    strategy: Strategy
    rounds: int
    aggregation: str
    proximal: float
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.ava / "AVA.txt").is_file():
            raise ConfigurationError(
                f"{self.ava / 'AVA.txt'} does not exist: --ava must name a folder with AVA.txt and images/."
            )
        if not (self.ava / "images").is_dir():
            raise ConfigurationError(
                f"{self.ava / 'images'} does not exist: --ava must name a folder with AVA.txt and images/."
            )

    def identity(self) -> dict[str, Any]:
        """What may not change when a run goes on: other money or other providers may be tried, other data not."""
        return {
            "ava": str(self.ava.resolve()),
            "backbone": self.backbone,
            "workers": self.workers,
            "strategy": self.strategy.name,
            "rounds": self.rounds,
            "aggregation": self.aggregation,
            "proximal": self.proximal,
            "seed": self.seed,
        }
