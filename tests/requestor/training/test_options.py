"""The options of `nima-golem train` in a run's folder: they come back as they were, and anything else is refused."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.errors import RunFolderError
from requestor.records.folder import RunFiles
from requestor.records.overview import read_run_record, read_run_state
from requestor.training.options import HOURS_LIMITS, OPTION_LIMITS, TrainOptions
from requestor.training.rounds.aggregation import AGGREGATION_RULES
from requestor.training.strategies import STRATEGIES

OPTIONS = TrainOptions(
    ava=Path("/photos/ava"), budget=Decimal("0.10"), backend="local", backbone="mobilenet_v2", strategy="fine-tune",
    rounds=2, aggregation="momentum", proximal=0.5, workers=3, max_price=Decimal("1E-7"),
    test_ids=Path("/photos/test.txt"), run_dir=Path("/runs/one"), network=None, subnet="public", seed=7,
)  # fmt: skip

# As `nima-golem train` wrote it before it wrote types.
OF_AN_OLDER_RUN = """{
 "ava": "/photos/ava",
 "budget": "0.10",
 "backend": "local",
 "backbone": "mobilenet_v2",
 "strategy": "fine-tune",
 "rounds": "2",
 "aggregation": "momentum",
 "proximal": "0.5",
 "workers": "3",
 "max_price": "1E-7",
 "test_ids": "/photos/test.txt",
 "network": null,
 "subnet": "public",
 "seed": "7"
}"""

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9).filter(
    lambda n: n not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: Path("/nowhere", *names))
AMOUNTS = st.decimals(min_value=0, allow_nan=False, allow_infinity=False).filter(bool)
OPTIONAL_TEXTS = st.none() | st.text(max_size=9)
ALL = st.builds(
    TrainOptions,
    ava=PATHS,
    budget=AMOUNTS,
    backend=st.sampled_from(["golem", "local"]),
    backbone=st.text(max_size=9),
    strategy=st.sampled_from(list(STRATEGIES)),
    rounds=st.none() | st.integers(*OPTION_LIMITS["rounds"]),
    aggregation=st.sampled_from(list(AGGREGATION_RULES)),
    proximal=st.floats(*OPTION_LIMITS["proximal"]),
    workers=st.integers(*OPTION_LIMITS["workers"]),
    max_price=AMOUNTS,
    test_ids=st.none() | PATHS,
    run_dir=st.none() | PATHS,
    network=OPTIONAL_TEXTS,
    subnet=OPTIONAL_TEXTS,
    seed=st.integers(*OPTION_LIMITS["seed"]),
    blocks=st.none() | st.integers(*OPTION_LIMITS["blocks"]),
    hours=st.none() | st.floats(*HOURS_LIMITS),
    audit=st.floats(0, 1),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a run, in which each example leaves its options."""
    return tmp_path_factory.mktemp("run")


def read(folder: Path, content: str | bytes) -> TrainOptions:
    (folder / "options.json").write_bytes(content.encode() if isinstance(content, str) else content)
    return TrainOptions.read(folder)


def changed(**fields: Any) -> str:
    return json.dumps({**OPTIONS.to_json(), **fields})


@given(options=ALL)
def test_options_come_back_as_they_were(folder: Path, options: TrainOptions) -> None:
    found = read(folder, json.dumps(options.to_json()))
    assert found == replace(options, run_dir=folder)
    assert str(found.budget) == str(options.budget)  # of equal amounts, too, one may have more digits


@given(options=ALL)
def test_texts_of_an_older_run_come_back_as_they_were(folder: Path, options: TrainOptions) -> None:
    texts = {name: None if value is None else str(value) for name, value in options.to_json().items()}
    assert read(folder, json.dumps(texts)) == replace(options, run_dir=folder)


def test_the_file_of_an_older_run_is_read(folder: Path) -> None:
    assert read(folder, OF_AN_OLDER_RUN) == replace(OPTIONS, run_dir=folder)


def test_the_file_holds_types_and_no_folder() -> None:
    assert OPTIONS.to_json() == {
        "ava": "/photos/ava", "budget": "0.10", "backend": "local", "backbone": "mobilenet_v2",
        "strategy": "fine-tune", "rounds": 2, "aggregation": "momentum", "proximal": 0.5, "workers": 3,
        "max_price": "1E-7", "test_ids": "/photos/test.txt", "network": None, "subnet": "public", "seed": 7,
        "blocks": None, "hours": None, "audit": 0.1, "start": None,
    }  # fmt: skip


def test_a_path_that_is_not_utf_8_comes_back(folder: Path) -> None:
    options = replace(OPTIONS, ava=Path(os.fsdecode(b"/photos/\xff")))
    assert read(folder, json.dumps(options.to_json())).ava == options.ava


def test_relative_paths_are_written_as_absolute_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = replace(OPTIONS, ava=Path("ava"), test_ids=Path("lists/test.txt")).to_json()
    assert written["ava"] == str(tmp_path.resolve() / "ava")
    assert written["test_ids"] == str(tmp_path.resolve() / "lists" / "test.txt")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "Expecting value"),
        (b"\xff\xfe", "can't decode"),
        (json.dumps(OPTIONS.to_json())[:-20], "Expecting value"),
        ("[" * 100_000, "recursion"),
        ("[]", "not an object"),
        ("{}", "missing key"),
        (changed(momentum=0.9), "unknown key 'momentum'"),
        (changed(run_dir="/runs/other"), "unknown key 'run_dir'"),
        (changed(ava="ava"), "ava is not an absolute path"),
        (changed(ava=None), "ava has the wrong type"),
        (changed(ava="/photos\0"), "ava contains a null character"),
        (changed(ava="/photos\ud800"), "surrogates not allowed"),
        (changed(test_ids=3), "test_ids is not an absolute path"),
        (changed(budget=0.5), "budget is not an amount of GLM"),
        (changed(budget="much"), "budget is not an amount of GLM"),
        (changed(budget="-1"), "budget is not an amount of GLM"),
        (changed(max_price="NaN"), "max_price is not an amount of GLM"),
        (changed(backend="cloud"), "backend has the wrong type"),
        (changed(strategy="guess"), "strategy must be one of"),
        (changed(strategy=["embed"]), "strategy has the wrong type"),
        (changed(workers="3"), "workers has the wrong type"),
        (changed(workers=True), "workers has the wrong type"),
        (changed(workers=0), "workers must lie between 1 and 1000"),
        (changed(rounds=2.5), "rounds has the wrong type"),
        (changed(proximal=float("nan")), "proximal has the wrong type"),
        (changed(seed=-1), "seed must lie between"),
        (OF_AN_OLDER_RUN.replace('"7"', '"seven"'), "seven"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_with_the_way_out(folder: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(RunFolderError) as refused:
        read(folder, content)
    assert str(folder / "options.json") in str(refused.value)
    assert problem in str(refused.value)
    assert str(refused.value).endswith("give the `nima-golem train` command again.")


@given(name=st.sampled_from([f.name for f in fields(TrainOptions)]), value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
))  # fmt: skip
def test_any_value_is_read_or_refused(folder: Path, name: str, value: Any) -> None:
    try:
        found = read(folder, changed(**{name: value}))
    except RunFolderError:
        return
    assert found.to_json()[name] == value or isinstance(value, str)


def test_a_folder_without_options_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=re.escape(f"{tmp_path} does not tell its options: give the")):
        TrainOptions.read(tmp_path)
    assert RunFiles(tmp_path).options() is None


@pytest.mark.parametrize("content", ["{", "[]", '{"budget": "much"}', '{"budget": 2}'])
def test_lists_and_reports_name_damaged_options(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text('{"backbone": "resnet18"}')
    (tmp_path / "options.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"options\.json is damaged .* command again"):
        read_run_record(tmp_path)


def test_lists_and_reports_tell_budget_and_backend(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"backbone": "resnet18"}')
    assert (read_run_state(tmp_path).backend, read_run_record(tmp_path).budget) == ("?", None)
    (tmp_path / "options.json").write_text(json.dumps(OPTIONS.to_json()))
    record = read_run_record(tmp_path)
    assert (read_run_state(tmp_path).backend, record.backend, record.budget) == ("local", "local", Decimal("0.10"))
