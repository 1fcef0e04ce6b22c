"""Gathered features: rows are read from the file when they are asked for, and the file is not kept in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_photos import shard

from nima.wire.features import encode_features
from nima.wire.shards import write_shard
from requestor.training.embedding.feature_store import FeatureFile, Part, gathered_features

SIZE = 7


def features(images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((images, SIZE)).astype(np.float16)


def test_rows_of_all_parts_are_read_in_any_order(tmp_path: Path) -> None:
    parts, values = [], [features(6, 0), features(5, 1)]
    for index, (part, found) in enumerate(zip((shard(6), shard(5, first=50)), values, strict=True)):
        info = write_shard(tmp_path, part.image_ids, None, part.jpegs)
        encode_features(tmp_path / str(index), part.image_ids, found)
        parts.append((Part(index, info.sha256, info.path, info.images), tmp_path / str(index)))
    scratch = tmp_path / "gathered"
    with gathered_features(parts, scratch, SIZE) as (image_ids, gathered):
        assert image_ids.tolist() == [*range(6), *range(50, 55)]
        assert len(gathered) == 11
        rows = np.array([10, 0, 6, 6])
        np.testing.assert_array_equal(gathered[rows], np.concatenate(values)[rows])
        assert str(scratch) not in Path("/proc/self/maps").read_text()  # pages of a mapped file count as memory
    assert not scratch.exists()


def test_a_file_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    features(3, 0).tofile(tmp_path / "file")
    with pytest.raises(OSError, match="too short"):
        FeatureFile(tmp_path / "file", 4, SIZE)[np.array([1, 3])]
