"""Does stochastic gradient descent with momentum: gives the same bits as `torch.optim.SGD`, and starts a second sooner.

PyTorch's optimisers import its compiler when they are made, which takes as long as the import of PyTorch itself.
Providers are paid by the second, and train for a few seconds only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class SGD:
    """An optimiser for one training run.

    Args:
        groups: parameters (`params`) with their learning rate (`lr`), as `Nima.parameter_groups` returns them.
        momentum, weight_decay: momentum and weight decay of all groups; 0 for none.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], momentum: float, weight_decay: float) -> None:
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        self._rates = [float(group["lr"]) for group in groups for _ in group["params"]]
        self._momentum, self._weight_decay = momentum, weight_decay
        self._velocities: list[Tensor | None] = [None] * len(self.parameters)

    @property
    def velocities(self) -> list[Tensor]:
        """Returns a copy of each parameter's velocity, in the order of `parameters`; zeros before the first step."""
        return [
            torch.zeros_like(parameter) if velocity is None else velocity.clone()
            for parameter, velocity in zip(self.parameters, self._velocities, strict=True)
        ]

    def resume(self, velocities: Sequence[Tensor]) -> None:
        """Sets the velocity of each parameter, in the order of `parameters`, so that steps go on from there."""
        self._velocities = [velocity.clone() for velocity in velocities]

    def zero_grad(self) -> None:
        """Deletes the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves each parameter by one step against its gradient; a parameter without a gradient does not change."""
        for index, (parameter, rate) in enumerate(zip(self.parameters, self._rates, strict=True)):
            gradient = parameter.grad
            if gradient is None:
                continue
            if self._weight_decay:
                gradient = gradient.add(parameter, alpha=self._weight_decay)
            if self._momentum:
                velocity = self._velocities[index]
                velocity = gradient.clone() if velocity is None else velocity.mul_(self._momentum).add_(gradient)
                self._velocities[index] = gradient = velocity
            parameter.add_(gradient, alpha=-rate)
