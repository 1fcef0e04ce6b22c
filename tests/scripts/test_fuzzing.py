"""Readers of strangers' bytes raise only their own errors, on what fuzzing has found and on random changes."""

from __future__ import annotations

import random

import pytest
from readers import CORPUS, Reader, changed, problem, readers


@pytest.fixture(scope="module")
def all_readers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("fuzzing"))


def test_what_was_found_is_refused_by_now(all_readers: dict[str, Reader]) -> None:
    for path in CORPUS.glob("*/*"):
        assert problem(all_readers[path.parent.name.replace("-", " ")], path.read_bytes()) is None, path


@pytest.mark.filterwarnings("ignore")  # pandas warns of numbers beyond 64 bits, and the list is refused
@pytest.mark.parametrize(
    "name",
    [
        *("flexbuffers", "packets", "result", "model header", "update", "features", "predictions", "ratings"),
        *("prediction table", "sidecar", "rating in a photo", "ledger", "image"),
    ],
)
def test_random_changes_raise_only_errors_of_this_program(all_readers: dict[str, Reader], name: str) -> None:
    reader, dice = all_readers[name], random.Random(0)
    for _ in range(120):
        content = changed(reader, dice)
        assert problem(reader, content) is None, content[:200]


def test_the_seeds_are_accepted(all_readers: dict[str, Reader]) -> None:
    for reader in all_readers.values():
        for seed in reader.seeds:
            reader.read(seed)
            if reader.form is not None:
                reader.read(reader.form.put_together(*reader.form.take_apart(seed)))
