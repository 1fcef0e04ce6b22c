"""Defines the strategies: the work of the providers in a run, and the training. docs/strategies.md compares them."""

from __future__ import annotations

from dataclasses import dataclass

from requestor.errors import ConfigurationError


@dataclass(frozen=True)
class Strategy:
    """One way to train a model.

    name: the name for `--strategy`.
    embeds: True if the run begins with features of all photos: providers compute them, and this machine trains the head
        on them.
    rounds: number of federated rounds, unless the user asks for another number; 0 if there are none; None if rounds go
        on until they no longer help.
    blocks: number of the backbone's last blocks that rounds train beside the head, unless the user asks for another
        number.
    """

    name: str
    embeds: bool
    rounds: int | None
    blocks: int

    def rounds_for(self, asked: int | None) -> int | None:
        """Returns the number of rounds of a run; None if rounds go on until they no longer help.

        Raises ConfigurationError if the user asks for rounds and the strategy has none.

        Args:
            asked: number of rounds that the user asks for; None for the strategy's own number.
        """
        if asked is None:
            return self.rounds
        self._check_has_rounds("--rounds")
        return asked

    def blocks_for(self, asked: int | None) -> int:
        """Returns the number of blocks that rounds train, as in `nima.wire.TrainingPlan`: -1 means all.

        Raises ConfigurationError if the user asks for blocks and the strategy has no rounds.

        Args:
            asked: number of blocks that the user asks for; None for the strategy's own number.
        """
        if asked is None:
            return self.blocks
        self._check_has_rounds("--blocks")
        return asked

    def _check_has_rounds(self, option: str) -> None:
        if self.rounds == 0:
            others = " or ".join(f"--strategy {other.name}" for other in STRATEGIES.values() if other.rounds != 0)
            raise ConfigurationError(f"{option}: --strategy {self.name} has no rounds; choose {others}.")


# Fine-tuning starts from a trained head, because a random one would spoil the features before they are useful (Kumar et
# al. 2022, arXiv 2202.10054).
STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("auto", embeds=True, rounds=None, blocks=3),
        Strategy("embed", embeds=True, rounds=0, blocks=0),
        Strategy("federate", embeds=False, rounds=4, blocks=0),
        Strategy("fine-tune", embeds=True, rounds=2, blocks=3),
    )
}
DEFAULT_STRATEGY = "auto"
