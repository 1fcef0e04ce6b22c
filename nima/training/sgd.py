"""Stochastic gradient descent with momentum, to the bit as `torch.optim.SGD`, and ready a second earlier.

PyTorch's optimisers import its compiler when they are made, which takes as long as PyTorch itself; providers are paid
by the second, and train for a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class SGD:
    """One optimiser for one training run.

    Args:
        groups: as of `Nima.parameter_groups`: `params`, and their `lr`.
        momentum, weight_decay: of all groups.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], momentum: float, weight_decay: float) -> None:
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        self._rates = [float(group["lr"]) for group in groups for _ in group["params"]]
        self._momentum, self._weight_decay = momentum, weight_decay
        self._velocities: list[Tensor | None] = [None] * len(self.parameters)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step against the gradients; a parameter without one stays as it is."""
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
