"""The additions that docs/extending.md shows work in the modules to which they are added."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from ava_folder import make_ava_folder

from nima.ava.splits import read_image_ids
from nima.model import backbones, checkpoint
from nima.model.network import initial_model
from requestor.devnet.faults import conduct, kinds
from requestor.evaluation.prediction import predict_here, predict_on
from requestor.training.rounds import aggregation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def add(module: types.ModuleType, name: str) -> None:
    exec(compile(BLOCKS[name], name, "exec", dont_inherit=True), vars(module))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    tables = (backbones.BACKBONES, aggregation.AGGREGATION_RULES, kinds.KINDS)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        assert isinstance(table, dict)
        table.clear()
        table.update(content)


def test_a_backbone() -> None:
    add(backbones, "nima/model/backbones.py")
    model = initial_model("mnasnet1_0", None, seed=1, multi_level=True).eval()
    assert model(torch.rand(2, 3, 224, 224)).shape == (2, 10)


def test_an_aggregation_rule() -> None:
    add(aggregation, "requestor/training/rounds/aggregation.py")
    honest = [aggregation.MemoryUpdate(np.array([3.0, -4.0], np.float32), samples) for samples in (1, 2)]
    hostile = aggregation.MemoryUpdate(np.array([-300.0, 400.0], np.float32), 9)
    combined = aggregation.AGGREGATION_RULES["sign-majority"].combine([*honest, hostile])
    assert combined == pytest.approx([5 / 2**0.5, -5 / 2**0.5])


def test_a_fault() -> None:
    add(conduct, "requestor/devnet/faults/conduct.py")
    add(kinds, "requestor/devnet/faults/kinds.py")
    assert kinds.parse_faults("late:2") == ("late", "late")
    assert type(kinds.make_fault("late", Path())).__name__ == "Late"
    del conduct.Late


def test_a_backend(tmp_path: Path) -> None:
    module = types.ModuleType("here")
    add(module, "requestor/backends/here.py")
    ava = make_ava_folder(tmp_path / "ava", images=6, tested=6)
    model, store, inbox = tmp_path / "model.safetensors", tmp_path / "store", tmp_path / "inbox"
    checkpoint.save(model, initial_model("squeezenet1_1", None, seed=1), {})
    store.mkdir()
    inbox.mkdir()
    ids = read_image_ids(ava / "splits" / "test.txt")

    def progress(done: int, total: int) -> None: ...

    there = asyncio.run(predict_on(module.HereBackend(inbox), model, ava, ids, store, progress))
    here = predict_here(model, ava, ids, progress)
    assert np.array_equal(there.image_ids, here.image_ids)
    assert np.allclose(there.probabilities, here.probabilities, atol=1e-6)


def test_no_block_is_left_out() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 5
