"""The reader in docs/file-formats.md, without any code of this project, reads the files that this project writes."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_photos import shard as drawn_shard

from nima.model import checkpoint
from nima.model.network import initial_model
from nima.wire.jobs import PROTOCOL, JobResult
from nima.wire.shards import write_shard
from nima.wire.updates import decode_update, encode_update, schema_of
from requestor.records.ledger import Ledger

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "file-formats.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Returns the names that the page's blocks need: the paths of a file of each kind, and the content of each."""
    folder = tmp_path_factory.mktemp("formats")
    drawn = drawn_shard(3)
    model = initial_model("squeezenet1_1", None, seed=1, multi_level=True)
    checkpoint.save(folder / "model.safetensors", model, {"round": 7})
    received = {name: parameter.detach() for name, parameter in model.trainable_parameters(0).items()}
    torch.manual_seed(0)
    trained = {name: values + torch.randn_like(values) for name, values in received.items()}
    encode_update(folder / "update.safetensors", received, trained, seed=0)
    result = JobResult(PROTOCOL, "job", "train", True, None, output="update.safetensors", output_sha256="0" * 64)
    (folder / "result.json").write_text(result.to_json())
    ledger = Ledger(folder / "ledger.jsonl")
    ledger.record("debit_note", agreement="a", activity="x", amount=Decimal("0.1"))
    ledger.record("debit_note", agreement="a", activity="x", amount=Decimal("0.25"))
    ledger.record("debit_note", agreement="b", activity="y", amount=Decimal("0.5"))
    ledger.record("invoice", agreement="b", amount=Decimal("0.000000000000000001"))
    return {
        "drawn": drawn,
        "schema": schema_of(received),
        "head": model.head.weight.detach().numpy(),
        "ledger": ledger,
        "shard": write_shard(folder, drawn.image_ids, drawn.votes, drawn.jpegs).path,
        "model": folder / "model.safetensors",
        "update": folder / "update.safetensors",
        "folder": str(folder),
        "run": str(folder),
    }


def run(names: dict[str, Any], upto: int) -> dict[str, Any]:
    """Returns the names that exist after the page's first blocks."""
    after = dict(names)
    for block in (BLOCKS[0], BLOCKS[upto]):
        exec(compile(block, "file-formats.md", "exec"), after)
    return after


def test_shard(names: dict[str, Any]) -> None:
    after = run(names, 1)
    assert after["images"] == names["drawn"].jpegs
    assert np.array_equal(after["tensors"]["votes"], names["drawn"].votes)


def test_checkpoint(names: dict[str, Any]) -> None:
    after = run(names, 2)
    assert (after["about"]["backbone"], after["about"]["metadata"]) == (
        "squeezenet1_1",
        {"preparation": "middle", "round": 7},
    )
    assert np.array_equal(after["tensors"]["head.weight"], names["head"])


def test_update(names: dict[str, Any]) -> None:
    ours = decode_update(names["update"], names["schema"])
    theirs = run(names, 3)["deltas"]
    assert {name: values.tolist() for name, values in ours.items()} == {n: d.tolist() for n, d in theirs.items()}


def test_result(names: dict[str, Any]) -> None:
    assert run(names, 4)["result"]["job_id"] == "job"


def test_ledger(names: dict[str, Any]) -> None:
    assert run(names, 5)["spent"] == names["ledger"].spent() == Decimal("0.250000000000000001")


def test_no_block_is_left_out() -> None:
    assert len(BLOCKS) == 6
