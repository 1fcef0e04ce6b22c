"""Shards: they are read as they were written, equal contents have equal names, and nothing broken is read."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from drawn_photos import picture, votes_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from nima.model.preparation import Part, Preparation
from nima.safe_io.files import sha256_of
from nima.wire import shards
from nima.wire.shards import ShardError, read_shard, write_shard

Tensors = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return [Preparation().with_part(part).store(picture(seed)) for seed, part in enumerate(get_args(Part))]


@pytest.mark.parametrize("votes", [votes_for(3), None])
def test_what_is_written_comes_back(tmp_path: Path, jpegs: list[bytes], votes: NDArray[np.int32] | None) -> None:
    info = write_shard(tmp_path, [30, 10, 20], votes, jpegs)
    assert info.path.name == f"{sha256_of(info.path)}.safetensors" == f"{info.sha256}.safetensors"
    assert (info.images, info.bytes) == (3, info.path.stat().st_size)
    shard = read_shard(info.path)
    assert shard.image_ids.tolist() == [30, 10, 20]
    assert list(shard.jpegs) == jpegs
    assert len(shard) == 3
    np.testing.assert_equal(shard.votes, votes)


def test_images_are_read_when_they_are_asked_for(tmp_path: Path, jpegs: list[bytes]) -> None:
    info = write_shard(tmp_path, np.arange(3), None, jpegs)
    stored = read_shard(info.path).jpegs
    assert (stored[0], stored[-1], stored[1:], stored[::-2]) == (jpegs[0], jpegs[2], jpegs[1:], jpegs[::-2])
    with pytest.raises(IndexError):
        stored[3]
    info.path.unlink()
    with pytest.raises(ShardError, match="could not be read: No such file"):
        stored[0]


def test_a_shard_takes_no_memory_for_its_images(tmp_path: Path) -> None:
    images = [b"\xff\xd8\xff" + bytes(100_000) for _ in range(100)]
    path = write_shard(tmp_path, np.arange(100), None, images).path
    tracemalloc.start()
    shard = read_shard(path)
    assert sum(map(len, shard.jpegs)) > 10_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000  # 32 images, which are read together


def test_equal_contents_make_one_file(tmp_path: Path, jpegs: list[bytes]) -> None:
    first = write_shard(tmp_path, np.arange(3), votes_for(3), jpegs)
    second = write_shard(tmp_path, list(range(3)), votes_for(3).tolist(), list(jpegs))
    third = write_shard(tmp_path, np.arange(3), votes_for(3, seed=1), jpegs)
    assert first == second
    assert third.sha256 != first.sha256
    assert len(list(tmp_path.iterdir())) == 2


def broken(**changes: object) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {
        name: value  # type: ignore[misc]
        for name, value in {**tensors, **changes}.items()
        if value is not None
    }


@pytest.mark.parametrize(
    "change",
    [
        broken(extra=np.zeros(1)),
        broken(jpegs=None),
        broken(image_ids=np.array([1, 1, 2])),
        broken(image_ids=np.array([1, 2], dtype=np.int64)),
        broken(image_ids=np.array([1, 2, 3], dtype=np.int32)),
        broken(image_ids=np.zeros(0, dtype=np.int64), offsets=np.zeros(1, dtype=np.int64)),
        broken(votes=np.zeros((3, 10), dtype=np.int32)),
        broken(votes=np.full((3, 10), -1, dtype=np.int32)),
        broken(votes=np.ones((3, 9), dtype=np.int32)),
        broken(votes=np.ones((3, 10), dtype=np.int64)),
        broken(offsets=np.array([0, 5, 4, 10**9])),
        broken(offsets=np.array([0, 2**62, -(2**62), 7])),
        lambda tensors: {**tensors, "offsets": tensors["offsets"] + np.int64(1)},
        lambda tensors: {**tensors, "jpegs": tensors["jpegs"][::-1].copy()},
        lambda tensors: {**tensors, "jpegs": tensors["jpegs"].astype(np.float32)},
    ],
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, jpegs: list[bytes], change: Callable[[Tensors], Tensors]
) -> None:
    tensors = load_file(write_shard(tmp_path, np.arange(3), votes_for(3), jpegs).path)
    path = tmp_path / "broken.safetensors"
    save_file(change(tensors), path)
    with pytest.raises(ShardError, match=r"broken\.safetensors is not a shard"):
        read_shard(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95 pickle",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 80)
        + json.dumps({"jpegs": {"dtype": "U8", "shape": [9**9], "data_offsets": [0, 9]}}).encode(),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ShardError, match="is not a shard"):
        read_shard(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_never_gets_past_as_anything_but_a_shard_or_an_error(
    tmp_path: Path, jpegs: list[bytes], position: int, value: int
) -> None:
    content = bytearray(write_shard(tmp_path, np.arange(3), votes_for(3), jpegs).path.read_bytes())
    content[position] = value
    path = tmp_path / "changed"
    path.write_bytes(content)
    try:
        shard = read_shard(path)
    except ShardError:
        return
    assert len(shard.jpegs) == len(shard.image_ids)


def test_a_file_over_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_BYTES", 1000)
    path = tmp_path / "large"
    path.write_bytes(bytes(1001))
    with pytest.raises(ShardError, match="larger than the 1000 bytes"):
        read_shard(path)
    with pytest.raises(ShardError, match="make more shards"):
        write_shard(tmp_path, [1], None, [Preparation().store(picture(0))])


def test_a_missing_shard_and_a_link_are_refused(tmp_path: Path, jpegs: list[bytes]) -> None:
    with pytest.raises(ShardError, match="could not be read: No such file"):
        read_shard(tmp_path / "none")
    (tmp_path / "link").symlink_to(write_shard(tmp_path, np.arange(3), None, jpegs).path)
    with pytest.raises(ShardError, match="could not be read"):
        read_shard(tmp_path / "link")


@pytest.mark.parametrize("contents", [([1, 1], None, 2), ([1, 2], [[1] * 9] * 2, 2), ([1], None, 2), ([], None, 0)])
def test_contents_that_make_no_shard_are_not_written(tmp_path: Path, contents: tuple[list[int], None, int]) -> None:
    image_ids, votes, images = contents
    with pytest.raises(ShardError):
        write_shard(tmp_path, image_ids, votes, [Preparation().store(picture(seed)) for seed in range(images)])
    assert list(tmp_path.iterdir()) == []
