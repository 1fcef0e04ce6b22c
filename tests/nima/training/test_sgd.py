"""This project's SGD equals PyTorch's, to the bit."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nima.training.sgd import SGD


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_every_step_is_pytorchs(momentum: float, weight_decay: float) -> None:
    torch.manual_seed(0)
    ours = [
        torch.randn(5, 3, requires_grad=True),
        torch.randn(5, requires_grad=True),
        torch.randn(2, requires_grad=True),
    ]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]

    def groups(tensors: list[torch.Tensor]) -> list[dict]:
        return [{"params": tensors[:1], "lr": 0.05}, {"params": tensors[1:], "lr": 0.3}]

    optimizer = SGD(groups(ours), momentum, weight_decay)
    reference = torch.optim.SGD(groups(theirs), lr=1.0, momentum=momentum, weight_decay=weight_decay)
    for step in range(5):
        inputs = torch.randn(4, 3)
        for tensors, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            loss = (inputs @ tensors[0].T + tensors[1]).square().mean()
            if step > 1:  # the last parameter has no gradient at first
                loss = loss + tensors[2].sum()
            loss.backward()
            one.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_it_needs_no_compiler() -> None:
    program = (
        "import sys, torch; from nima.training.sgd import SGD; p = torch.ones(2, requires_grad=True);"
        "s = SGD([{'params': [p], 'lr': 0.1}], 0.9, 0.0); s.zero_grad(); p.sum().backward(); s.step();"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
