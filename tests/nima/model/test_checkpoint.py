"""Checkpoints: models are read as they were written, files are named by content, and broken ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from nima.model import checkpoint
from nima.model.card import model_card
from nima.model.checkpoint import CheckpointError
from nima.model.metadata import _SCHEMA, checked_metadata
from nima.model.network import Nima, initial_model
from nima.safe_io.strict_json import FormatError

Tensors = dict[str, torch.Tensor]


def header_with(metadata: object = None, **more: object) -> dict[str, str]:
    """The header of a model with these metadata, and with these keys beside them."""
    known = {"format": 1, "backbone": "mobilenet_v3_small", "multi_level": True, "metadata": metadata or {}}
    return {"nima": json.dumps(known | more)}


METADATA = {"preparation": "middle", "rounds": 3, "metrics": {"srcc": 0.87}, "splits": "abc", "name": "Größe"}


@pytest.fixture(scope="module")
def model() -> Nima:
    return initial_model("mobilenet_v3_small", None, seed=3, multi_level=True)


@pytest.fixture
def saved(model: Nima, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model, METADATA)
    return path


def test_a_model_comes_back_with_its_metadata(model: Nima, saved: Path) -> None:
    loaded, metadata = checkpoint.load(saved)
    assert metadata == METADATA == checkpoint.read_metadata(saved)
    assert (loaded.backbone, loaded.multi_level, loaded.training) == ("mobilenet_v3_small", True, False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(images), model.eval()(images))


def test_equal_models_are_equal_bytes(model: Nima, saved: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "again", checkpoint.load(saved)[0], dict(reversed(METADATA.items())))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_an_older_file_stays_where_writing_fails(model: Nima, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        checkpoint.save(saved, model, {"loss": float("nan")})
    assert saved.read_bytes() == before
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save(saved / "below a file", model, {})
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "head.bias"}, "'head.bias' is missing"),
        (lambda t: {**t, "extra": torch.zeros(1)}, "'extra' is unknown"),
        (lambda t: {**t, "head.bias": torch.zeros(9)}, "'head.bias' has another shape or type"),
        (lambda t: {**t, "head.bias": t["head.bias"].half()}, "'head.bias' has another shape or type"),
        (lambda t: {**t, "head.bias": t["head.bias"] / 0}, "'head.bias' has values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved: Path, change: Callable[[Tensors], Tensors], reason: str) -> None:
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    save_file(change(load_file(saved)), saved, metadata)
    with pytest.raises(CheckpointError, match=f"is broken: tensor {reason}"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "not a model of this program"),
        ({"other": "{}"}, "not a model of this program"),
        ({"nima": "{"}, "is broken"),
        ({"nima": "[]"}, "is broken"),
        ({"nima": json.dumps({"format": 1, "backbone": 7, "multi_level": False, "metadata": {}})}, "is broken"),
        ({"nima": json.dumps({"format": 2, "backbone": "x", "multi_level": False, "metadata": {}})}, "has format 2"),
        ({"nima": json.dumps({"format": 1, "backbone": "x", "multi_level": False, "metadata": {}})}, "later version"),
        (header_with(preparation="whole"), "has format 1 with the keys .*preparation"),
        ({"nima": '{"format": 1, "format": 1}'}, "a key stands twice"),
        ({"nima": "[" * 100_000}, "is broken"),
        ({"nima": '{"format": NaN}'}, "NaN is not a number"),
    ],
)
def test_headers_that_say_something_else_are_refused(saved: Path, header: dict[str, str] | None, reason: str) -> None:
    save_file(load_file(saved), saved, header)
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    "metadata",
    [
        {"split": 5},
        {"split": {"name": "x"}},
        {"metrics": "x"},
        {"metrics": {"srcc_mean": "high"}},
        {"metrics": {"n": 10**400}},
        {"intervals": {"srcc_mean": [1]}},
        {"providers": [1, 2]},
        {"providers": {"name": "x"}},
        {"history": [3]},
        {"name": ["x"]},
        {"rounds": "many"},
        {"preparation": "upside down"},
        {"preparation": {}},
        {"deep": [[[[[[[[[[]]]]]]]]]]},
    ],
)
def test_metadata_of_another_form_are_refused_in_one_sentence(saved: Path, metadata: dict[str, object]) -> None:
    save_file(load_file(saved), saved, header_with(metadata))
    for read in (checkpoint.load, checkpoint.read_metadata):
        with pytest.raises(CheckpointError, match=r"is broken: the metadata|needs a later version") as refusal:
            read(saved)
        assert "\n" not in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(_SCHEMA)), JSON, max_size=4))
def test_metadata_that_are_read_can_be_shown(metadata: dict[str, object]) -> None:
    try:
        checked = checked_metadata(metadata)
    except FormatError:
        return
    card = model_card(checked)
    assert all(character.isprintable() or character == "\n" for character in card)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("dataset", {"name": "trees", "size": 3}),
        ("dataset", {"raters": "foresters"}),
        ("score_quantiles", list(range(100))),
        ("score_quantiles", list(range(101, 0, -1))),
    ],
)
def test_a_model_with_wrong_data_is_refused(key: str, wrong: object) -> None:
    with pytest.raises(FormatError, match=key):
        checked_metadata({key: wrong})


def test_texts_of_strangers_are_printable_from_the_start(model: Nima, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    hostile = "\x1b]0;owned\x07 \u202egnp.\x00\nnext"
    checkpoint.save(path, model, {"name": hostile, "more": {hostile: [hostile]}})
    for metadata in (checkpoint.load(path)[1], checkpoint.read_metadata(path)):
        assert metadata["name"] == "]0;owned gnp. next"
        assert metadata["more"] == {"]0;owned gnp. next": ["]0;owned gnp. next"]}


def with_header(saved: Path, change: Callable[[str], str]) -> None:
    """Changes the text of a file's safetensors header."""
    content = saved.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = change(content[8:end].decode()).encode()
    saved.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])


@pytest.mark.timeout(20)
def test_a_crowd_of_empty_tensors_is_refused_before_one_is_read(saved: Path) -> None:
    empty = '"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
    for count, reason in ((400_000, "has more than"), (20_000, "tensor 't0' is unknown")):
        crowd = "".join(empty % number for number in range(count))
        before = saved.read_bytes()
        with_header(saved, lambda header, crowd=crowd: "{" + crowd + header[1:])  # type: ignore[misc]
        with pytest.raises(CheckpointError, match=reason):
            checkpoint.load(saved)
        saved.write_bytes(before)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h: h.replace('"head.bias"', '"head.weight"'), "a key stands twice"),
        (lambda h: '{"__metadata__":{"nima":"{}"},' + h[1:], "a key stands twice"),
        (lambda h: h.replace('"dtype":"F32"', '"dtype":"F32","dtype":"F32"', 1), "a key stands twice"),
        (lambda h: h.replace('"shape":[10]', '"shape":["10"]'), "a tensor that cannot be"),
        (lambda h: h.replace('"shape":[10]', '"shape":[-10]'), "has another shape"),
        (lambda h: h.replace('"__metadata__":{', '"__metadata__":{"x":3,'), "are not texts"),
    ],
)
def test_a_header_that_says_something_twice_or_wrongly_is_refused(
    saved: Path, change: Callable[[str], str], reason: str
) -> None:
    with_header(saved, change)
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(saved)


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04 pickle", b"\xff" * 100])
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    for read in (checkpoint.load, checkpoint.read_metadata):
        with pytest.raises(CheckpointError, match=r"model\.safetensors could not be read as a model"):
            read(path)


def test_a_cut_off_file_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="could not be read as a model"):
        checkpoint.load(saved)


@pytest.mark.timeout(60)
def test_loading_does_not_wait_for_what_lies_in_memory_to_be_a_truncated_normal() -> None:
    garbage = torch.full((8,), 99.0, requires_grad=True)
    with checkpoint._Uninitialised():
        nn.init.trunc_normal_(garbage, std=0.02)
