"""Tests of `nima-golem models`, run as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nima.model import checkpoint
from nima.model.card import model_card
from nima.model.network import initial_model
from nima.weights.table import PUBLISHED_WEIGHTS
from requestor.commands.main import main

KERAS = Path(__file__).resolve().parents[4] / "shared" / "data" / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
needs_weights = pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # models of the user's own
    return tmp_path / "cache"


def models(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["models", *map(str, arguments)])


def test_the_table_lists_every_model_with_its_licence() -> None:
    _, *lines = models("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(PUBLISHED_WEIGHTS)
    assert all(PUBLISHED_WEIGHTS[line.split()[0]].licence in line for line in lines)
    rows = [json.loads(line) for line in models("list", "--json").stdout.splitlines()]
    assert [row["file"] for row in rows] == [None] * len(PUBLISHED_WEIGHTS)


def test_the_default_model_has_its_facts_in_the_table() -> None:
    facts = json.loads(models("info", "mobilenet_v1-ava", "--json").stdout)
    assert facts["licence"] == "Apache-2.0"
    assert facts["metrics"]["srcc_mean"] == 0.59496
    assert [source["bytes"] for source in facts["sources"]] == [13_174_216] * 2
    assert {len(source["sha256"]) for source in facts["sources"]} == {64}


@needs_weights
def test_an_imported_file_is_converted_and_found_again(cache: Path) -> None:
    imported = models("import", "mobilenet_v1-ava", KERAS)
    path = Path(imported.stdout.strip())
    assert path.is_relative_to(cache)
    assert models("pull", "mobilenet_v1-ava").stdout.strip() == str(path)
    assert json.loads(models("info", "mobilenet_v1-ava", "--json").stdout)["file"] == str(path)
    assert models("list").stdout.splitlines()[1].split()[1] == "here"


def test_another_file_is_not_imported(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "other.hdf5").write_bytes(b"other")
    result = models("import", "mobilenet_v1-ava", tmp_path / "other.hdf5")
    assert result.exit_code == 1
    assert "its sha256 differs" in result.stderr
    assert not list(cache.rglob("*.safetensors"))


def test_info_shows_sources_in_their_order_each_with_size_licence_and_hash() -> None:
    lines = models("info", "mobilenet_v2-imagenet").stdout.splitlines()
    first, second = PUBLISHED_WEIGHTS["mobilenet_v2-imagenet"].sources
    assert "imagenet_top1 71.878" in lines[2]
    assert lines[3:7] == [
        f"source 1  {first.url}",
        f"          14.2 MB, BSD-3-Clause, sha256 {first.sha256}",
        f"source 2  {second}",
        f"          9.1 MB, MIT, sha256 {second.sha256}",
    ]
    assert lines[7].endswith("not fetched yet")


def test_info_shows_the_card_of_a_models_own_file(tmp_path: Path) -> None:
    path, metadata = tmp_path / "mine.safetensors", {"rounds": 6, "spent_glm": "0.25"}
    checkpoint.save(path, initial_model("mobilenet_v1", None, seed=0), metadata)
    assert models("info", path).stdout == model_card(metadata)
    assert json.loads(models("info", path, "--json").stdout) == {"preparation": "middle"} | metadata


@pytest.mark.parametrize("command", ["info", "pull"])
def test_an_unknown_model_is_an_error_that_helps(command: str) -> None:
    result = models(command, "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert "models list" in result.stderr or "mobilenet_v1-ava" in result.stderr
