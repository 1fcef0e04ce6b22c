"""One frozen configuration of a training run, validated once; options, environment and file all end here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from requestor.devnet.state import find_devnet
from requestor.errors import ConfigurationError
from requestor.golem.networks import TOKENS
from requestor.strategies import Strategy

BackendName = Literal["golem", "local"]


@dataclass(frozen=True, kw_only=True)
class HiringConfig:
    """Who computes, and for how much.

    Attributes:
        backend: Golem, or subprocesses of this machine.
        workers: providers that work at a time.
        budget: GLM that may leave the wallet, at most.
        max_price: GLM that the first hour of one provider may cost at full load.
        network: payment network.
        subnet: Golem subnet whose providers are asked.
    """

    backend: BackendName
    workers: int
    budget: Decimal
    max_price: Decimal
    network: str
    subnet: str

    def __post_init__(self) -> None:
        if self.network not in TOKENS:
            raise ConfigurationError(f"--network {self.network}: not one of {', '.join(TOKENS)}.")


@dataclass(frozen=True, kw_only=True)
class RunConfig(HiringConfig):
    """What `nima-golem train` was asked to do.

    Attributes:
        ava: folder with `AVA.txt` and `images/<id>.jpg`.
        run_dir: where the run lives.
        backbone: a name of `nima.backbones`.
        strategy: what providers compute, and what is trained from it.
        rounds: federated rounds; 0 where the strategy has none.
        aggregation: how a round's updates become a step of the model, a name of `requestor.aggregation.RULES`.
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


def golem_environment() -> dict[str, str]:
    """The variables that say which Golem to use: the shell's own, or those of a running devnet where it has none."""
    environment = dict(os.environ)
    if "YAGNA_APPKEY" not in environment and (devnet := find_devnet()) is not None:
        environment |= devnet.environment()
    return environment
