"""The EMD loss, compared with values computed by hand and with numerical gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nima.ratings.loss import emd


def one_hot(rating: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(rating - 1), 10).double()


def test_moving_everything_one_bucket_up() -> None:
    p, q = one_hot(4)[None], one_hot(5)[None]
    assert emd(p, q, 1).item() == pytest.approx(1 / 10)
    assert emd(p, q, 2).item() == pytest.approx(math.sqrt(1 / 10))


def test_from_the_worst_to_the_best() -> None:
    p, q = one_hot(1)[None], one_hot(10)[None]
    assert emd(p, q, 1).item() == pytest.approx(9 / 10)
    assert emd(p, q, 2).item() == pytest.approx(math.sqrt(9 / 10))


def test_the_root_is_taken_of_each_image_before_the_mean() -> None:
    p = torch.stack([one_hot(1), one_hot(5)])
    q = torch.stack([one_hot(10), one_hot(5)])
    assert emd(p, q, 2).item() == pytest.approx(math.sqrt(9 / 10) / 2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_it_is_a_distance(seed: int, r: float) -> None:
    p, q = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(10), (2, 3)))
    assert emd(p, p, r).item() == 0
    assert 0 <= emd(p, q, r).item() <= 1
    assert emd(p, q, r).item() == pytest.approx(emd(q, p, r).item())


@pytest.mark.parametrize("r", [1.0, 1.5, 2.0])
def test_gradients_equal_numerical_ones(r: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    q = torch.rand(4, 10, generator=generator, dtype=torch.float64).softmax(dim=1)
    assert torch.autograd.gradcheck(lambda x: emd(x.softmax(dim=1), q, r), (logits,))


@pytest.mark.parametrize("r", [1.0, 2.0])
def test_gradients_are_zero_where_the_distributions_are_equal(r: float) -> None:
    p = torch.full((2, 10), 0.1, requires_grad=True)
    emd(p, p.detach().clone(), r).backward()
    assert p.grad is not None
    assert (p.grad == 0).all()


def test_an_equal_pair_leaves_the_others_their_gradient() -> None:
    q = torch.stack([one_hot(3), one_hot(7)])
    p = torch.stack([one_hot(3), torch.full((10,), 0.1, dtype=torch.float64)]).requires_grad_()
    emd(p, q, 2).backward()
    assert p.grad is not None
    assert torch.isfinite(p.grad).all()
    assert p.grad[1].abs().max() > 0


@pytest.mark.parametrize(("p", "q", "r"), [((2, 10), (3, 10), 2), ((10,), (10,), 2), ((2, 10), (2, 10), 0.5)])
def test_bad_arguments_are_refused(p: tuple[int, ...], q: tuple[int, ...], r: float) -> None:
    with pytest.raises(ValueError, match="emd needs"):
        emd(torch.zeros(p), torch.zeros(q), r)
