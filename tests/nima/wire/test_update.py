"""Weights and updates on the wire: the error of a round trip, and every way in which a file can be hostile."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nima.wire.updates import (
    UpdateError,
    decode_update,
    decode_weights,
    encode_update,
    encode_weights,
    max_update_bytes,
    max_weights_bytes,
    schema_of,
)

Tensors = dict[str, torch.Tensor]

SCHEMA = {"head.weight": (10, 7), "head.bias": (10,)}


def example(seed: int = 0, size: float = 1.0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {name: size * torch.randn(shape, generator=generator) for name, shape in SCHEMA.items()}


def steps_of(delta: torch.Tensor) -> torch.Tensor:
    """Returns the size of a step for each value: a tensor's rows have their own, and a vector is one row."""
    largest = delta.abs().amax(dim=1, keepdim=True) if delta.dim() > 1 else delta.abs().max()
    return (largest / 127).expand(delta.shape)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-12, 1e4), st.floats(1e-6, 1.0))
def test_a_delta_comes_back_within_a_step(tmp_path: Path, seed: int, size: float, ratio: float) -> None:
    received = {name: torch.zeros(shape) for name, shape in SCHEMA.items()}
    trained = example(seed, size)
    trained["head.bias"][0] *= ratio  # a small value beside a large one
    trained["head.weight"][0] *= ratio  # a row of small values beside others
    encode_update(tmp_path / "update", received, trained, seed)
    decoded = decode_update(tmp_path / "update", SCHEMA)
    for name, delta in trained.items():
        assert ((decoded[name] - delta).abs() <= steps_of(delta) * (1 + 1e-4)).all()


def test_what_is_smaller_than_a_step_is_not_lost_in_the_mean(tmp_path: Path) -> None:
    received, trained = {name: torch.zeros(shape) for name, shape in SCHEMA.items()}, example()
    trained["head.bias"] = torch.tensor([1.0, *[0.3 / 127] * 9])
    seeds, total = 400, dict.fromkeys(SCHEMA, torch.tensor(0.0))
    for seed in range(seeds):
        encode_update(tmp_path / "update", received, trained, seed)
        total = {name: total[name] + delta for name, delta in decode_update(tmp_path / "update", SCHEMA).items()}
    for name, delta in trained.items():
        # The standard error of the mean of so many values, each off by at most half a step in the root mean square.
        assert ((total[name] / seeds - delta).abs() < 5 * 0.5 * steps_of(delta) / seeds**0.5).all()


def test_the_rounding_depends_on_the_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        encode_update(tmp_path / name, example(1), example(2), seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_an_update_of_nothing_is_zero(tmp_path: Path) -> None:
    encode_update(tmp_path / "update", example(), example(), 0)
    assert all((delta == 0).all() for delta in decode_update(tmp_path / "update", SCHEMA).values())


def test_weights_come_back_in_half_precision(tmp_path: Path) -> None:
    encode_weights(tmp_path / "weights", example())
    decoded = decode_weights(tmp_path / "weights", SCHEMA)
    assert list(decoded) == list(SCHEMA)
    for name, tensor in example().items():
        assert torch.equal(decoded[name], tensor.half().float())


def test_some_of_the_weights_are_enough_only_where_that_is_said(tmp_path: Path) -> None:
    encode_weights(tmp_path / "weights", {"head.bias": example()["head.bias"]})
    assert list(decode_weights(tmp_path / "weights", SCHEMA, partial=True)) == ["head.bias"]
    with pytest.raises(UpdateError, match="1 tensors are missing"):
        decode_weights(tmp_path / "weights", SCHEMA)


def test_equal_updates_are_equal_bytes(tmp_path: Path) -> None:
    encode_update(tmp_path / "a", example(1), example(2), 0)
    encode_update(tmp_path / "b", example(1), dict(reversed(example(2).items())), 0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_largest_valid_file_is_within_the_bound(tmp_path: Path) -> None:
    encode_update(tmp_path / "update", example(1), example(2), 0)
    assert (tmp_path / "update").stat().st_size <= max_update_bytes(SCHEMA)
    encode_weights(tmp_path / "weights", example())
    assert (tmp_path / "weights").stat().st_size <= max_weights_bytes(SCHEMA)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_fp16_cannot_hold_are_not_sent(tmp_path: Path, value: float) -> None:
    weights = example()
    weights["head.bias"][3] = value
    with pytest.raises(UpdateError, match=r"not finite in head\.bias"):
        encode_weights(tmp_path / "weights", weights)


def test_an_update_that_is_not_finite_is_not_sent(tmp_path: Path) -> None:
    trained = example()
    trained["head.bias"][3] = float("nan")
    with pytest.raises(UpdateError, match=r"not finite in head\.bias"):
        encode_update(tmp_path / "update", example(), trained, 0)


def changed(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: make(tensors[name])}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "head.bias"}, "1 tensors are missing and 0"),
        (lambda t: {n: v for n, v in t.items() if n != "scales"}, "1 tensors are missing and 0"),
        (lambda t: {**t, "extra": torch.zeros(1)}, "0 tensors are missing and 1 are unknown"),
        (changed("head.bias", lambda v: v.reshape(2, 5)), r"head.bias is torch.int8 \(2, 5\)"),
        (changed("head.bias", lambda v: v[:5].clone()), r"head.bias is torch.int8 \(5,\)"),
        (changed("head.bias", lambda v: v.float()), "head.bias is torch.float32"),
        (changed("head.bias", lambda v: v.bfloat16()), "head.bias is torch.bfloat16"),
        (changed("head.bias", lambda v: v.half()), "head.bias is torch.float16"),
        (changed("scales", lambda v: v * float("nan")), "not finite in scales"),
        (changed("scales", lambda v: v * float("inf")), "not finite in scales"),
        (changed("scales", lambda v: -v), "a scale is negative"),
        (changed("scales", lambda v: v[:1].clone()), "scales is torch.float32"),
        (
            lambda t: {**t, "head.bias": t["head.bias"] * 0 + 127, "scales": t["scales"] + 3e38},
            "not finite in head.bias",
        ),
    ],
)
def test_a_hostile_update_is_refused(tmp_path: Path, change: Callable[[Tensors], Tensors], reason: str) -> None:
    encode_update(tmp_path / "good", example(1), example(2), 0)
    save_file(change(load_file(tmp_path / "good")), tmp_path / "bad")
    with pytest.raises(UpdateError, match=reason):
        decode_update(tmp_path / "bad", SCHEMA)


def header(declared: dict[str, object]) -> bytes:
    text = json.dumps(declared).encode()
    return struct.pack("<Q", len(text)) + text


class Exploit:
    def __reduce__(self) -> tuple[object, ...]:
        return os.abort, ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        pickle.dumps(Exploit()),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        header({"head.bias": {"dtype": "F16", "shape": [10], "data_offsets": [0, 20]}}),
        header({"head.bias": {"dtype": "F16", "shape": [2**40, 2**40], "data_offsets": [0, 20]}}) + bytes(20),
        header({"head.bias": {"dtype": "F16", "shape": [10], "data_offsets": [20, 0]}}) + bytes(20),
        header({"head.bias": {"dtype": "O", "shape": [10], "data_offsets": [0, 20]}}) + bytes(20),
    ],
    ids=["empty", "short", "pickle", "header 2^63", "header 99 MB", "header a list", "no data", "overflow", "backwards",
         "objects"],
)  # fmt: skip
def test_something_else_than_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(UpdateError, match="it is no safetensors file"):
        decode_update(tmp_path / "bad", SCHEMA)


def test_a_cut_off_update_is_refused(tmp_path: Path) -> None:
    encode_update(tmp_path / "good", example(1), example(2), 0)
    content = (tmp_path / "good").read_bytes()
    for length in (8, 50, len(content) // 2, len(content) - 1):
        (tmp_path / "bad").write_bytes(content[:length])
        with pytest.raises(UpdateError, match="it is no safetensors file"):
            decode_update(tmp_path / "bad", SCHEMA)


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)  # a hole: reading it all would exhaust the memory
    with pytest.raises(UpdateError, match="larger than the"):
        decode_update(tmp_path / "huge", SCHEMA)


def test_a_pipe_in_the_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UpdateError):
        decode_update(tmp_path / "pipe", SCHEMA)


def test_the_schema_is_of_names_and_shapes() -> None:
    assert schema_of(example()) == SCHEMA
