"""What a run has its providers compute, and what is trained from it. Compared with each other in docs/strategies.md."""

from __future__ import annotations

from dataclasses import dataclass

from requestor.errors import ConfigurationError


@dataclass(frozen=True)
class Strategy:
    """One way to a trained model.

    embeds: it begins with the features of all photos, which providers compute and this machine trains the head on.
    rounds: federated rounds, where nobody asks for another number; 0 where there are none.
    blocks: of the backbone, the last so many, which rounds train beside the head.
    """

    name: str
    embeds: bool
    rounds: int
    blocks: int

    def rounds_for(self, asked: int | None) -> int:
        """How many rounds a run has. Raises ConfigurationError where rounds were asked for and there are none."""
        if asked is None:
            return self.rounds
        if self.rounds == 0:
            others = " or ".join(f"--strategy {other.name}" for other in STRATEGIES.values() if other.rounds > 0)
            raise ConfigurationError(f"--rounds: --strategy {self.name} has none; choose {others}.")
        return asked


# Fine-tuning goes on from a trained head: one that is random would spoil the features before they are of use (Kumar et
# al. 2022, arXiv 2202.10054).
STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy("embed", embeds=True, rounds=0, blocks=0),
        Strategy("federate", embeds=False, rounds=4, blocks=0),
        Strategy("fine-tune", embeds=True, rounds=2, blocks=3),
    )
}
DEFAULT = "embed"
