"""The base model of rounds: the run's own where possible, else the best model, so that no trained block is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nima.model import checkpoint
from nima.model.network import Nima, initial_model
from requestor.records.folder import RunFolder
from requestor.training.run.preparation import store_model
from requestor.training.run.rounds import base_of_rounds

BACKBONE = "mobilenet_v3_small"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", {"backbone": BACKBONE})


def tuned(blocks: int) -> Nima:
    """Returns a model whose last blocks and head were changed."""
    model = initial_model(BACKBONE, None, seed=0)
    with torch.no_grad():
        for parameter in model.trainable_parameters(blocks).values():
            parameter.add_(0.01)
    return model


@pytest.mark.parametrize(("trained_before", "trained_now"), [(0, 0), (0, 3), (3, 3), (3, -1)])
def test_the_runs_base_serves_while_the_rounds_train_all_that_was_changed(
    folder: RunFolder, trained_before: int, trained_now: int
) -> None:
    base = store_model(folder, initial_model(BACKBONE, None, seed=0))
    assert base_of_rounds(folder, tuned(trained_before), base, trained_now) == base


@pytest.mark.parametrize(("trained_before", "trained_now"), [(3, 0), (3, 2), (-1, 3)])
def test_blocks_that_were_trained_before_and_are_frozen_now_go_to_the_providers(
    folder: RunFolder, trained_before: int, trained_now: int
) -> None:
    base = store_model(folder, initial_model(BACKBONE, None, seed=0))
    best = tuned(trained_before)
    sha256, path = base_of_rounds(folder, best, base, trained_now)
    assert sha256 != base[0]
    sent, _ = checkpoint.load(path)
    assert all(torch.equal(values, best.state_dict()[name]) for name, values in sent.state_dict().items())
