"""Votes: they are read as they were written, only for the photos that they belong to, and nothing broken is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_photos import votes_for
from numpy.typing import NDArray
from safetensors.numpy import save_file

from nima.safe_io.files import sha256_of
from nima.wire.votes import VotesError, read_votes, write_votes

IDS = np.array([30, 10, 20])


def test_what_is_written_comes_back_under_its_hash(tmp_path: Path) -> None:
    sha256 = write_votes(tmp_path, IDS, votes_for(3))
    path = tmp_path / f"{sha256}.safetensors"
    assert sha256_of(path) == sha256
    np.testing.assert_equal(read_votes(path, IDS), votes_for(3))


@pytest.mark.parametrize("ids", [[30, 20, 10], [30, 10], [30, 10, 20, 40]])
def test_votes_of_other_photos_are_refused(tmp_path: Path, ids: list[int]) -> None:
    path = tmp_path / f"{write_votes(tmp_path, IDS, votes_for(3))}.safetensors"
    with pytest.raises(VotesError, match=r"other photos|larger"):
        read_votes(path, np.array(ids))


def _counts(*rows: list[int]) -> NDArray[np.int32]:
    return np.array(rows, dtype=np.int32)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"image_ids": IDS}, "its tensors are image_ids"),
        ({"image_ids": IDS, "votes": votes_for(3), "more": IDS}, "its tensors are"),
        ({"image_ids": IDS.astype(np.int32), "votes": votes_for(3)}, "other photos"),
        ({"image_ids": IDS, "votes": votes_for(3).astype(np.int64)}, "10 counts"),
        ({"image_ids": IDS, "votes": votes_for(3)[:, :9]}, "10 counts"),
        ({"image_ids": IDS, "votes": votes_for(2)}, "10 counts"),
        ({"image_ids": IDS, "votes": _counts([-1] + [1] * 9, [1] * 10, [1] * 10)}, "negative"),
        ({"image_ids": IDS, "votes": _counts([0] * 10, [1] * 10, [1] * 10)}, "without a vote"),
    ],
)
def test_broken_votes_are_refused(tmp_path: Path, tensors: dict[str, NDArray[np.generic]], problem: str) -> None:
    path = tmp_path / "votes.safetensors"
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path)
    with pytest.raises(VotesError, match=problem):
        read_votes(path, IDS)


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 10_000])
def test_strange_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes.safetensors"
    path.write_bytes(content)
    with pytest.raises(VotesError):
        read_votes(path, IDS)
    with pytest.raises(VotesError):
        read_votes(tmp_path / "missing.safetensors", IDS)
