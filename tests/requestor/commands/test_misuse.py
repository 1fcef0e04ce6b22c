"""Tries what people mistype and mean: names of commands, amounts with a blank, folders of runs; and every exit code."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner
from run_commands import nima_golem, runs
from run_folder import finish_run, pay, start_run

from nima.errors import NimaError
from nima.weights import find_model
from requestor.commands.main import EXIT_CODES, main
from requestor.commands.train import EXIT_WORSE_THAN_CONSTANT
from requestor.errors import RequestorError


@pytest.fixture(scope="module")
def paid_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a finished run that cost 0.01 GLM."""
    root = tmp_path_factory.mktemp("runs")
    folder = start_run(root / "paid", make_ava_folder(root / "data" / "ava"))
    pay(folder, "bold-fox", Decimal("0.01"))
    finish_run(folder, root / "data" / "ava")
    folder.close()
    return folder.path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["scroe"], "score"), (["trian", "--budget", "2GLM"], "train"), (["runs", "lst"], "list"), (["dvnet"], "devnet")],
)
def test_a_misspelt_command_gets_a_suggestion(typed: list[str], meant: str) -> None:
    done = nima_golem(*typed)
    assert (done.returncode, f"Did you mean {meant!r}?" in done.stderr) == (2, True)


def test_a_word_like_no_command_gets_none() -> None:
    done = nima_golem("zzzz\x1b[2J")
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr


@pytest.mark.parametrize("unit", ["GLM", "tGLM"])
def test_an_amount_in_two_words_gets_a_hint(unit: str) -> None:
    done = nima_golem("offers", "--max-price", "2", unit)
    assert done.returncode == 2
    assert f"Write an amount without a blank, like 2{unit}." in done.stderr


def exit_codes(error: type[RequestorError] = RequestorError) -> Iterator[int]:
    yield error.exit_code
    for below in error.__subclasses__():
        yield from exit_codes(below)


def test_every_exit_code_has_a_meaning() -> None:
    assert {0, EXIT_WORSE_THAN_CONSTANT, *exit_codes()} == set(EXIT_CODES)


@pytest.mark.parametrize(
    ("code", "command"),
    [(0, ["runs", "list"]), (1, ["runs", "show", "nowhere"]), (2, ["train", "--budget", "much"]), (2, ["--nowhere"])],
)
def test_commands_end_with_the_codes_of_the_table(code: int, command: list[str], tmp_path: Path) -> None:
    assert nima_golem(*command, folder=tmp_path).returncode == code


def test_the_folder_of_a_run_is_its_model(paid_run: Path, tmp_path: Path) -> None:
    assert find_model(str(paid_run)) == paid_run / "model.safetensors"
    with pytest.raises(NimaError, match=r"holds no model\.safetensors"):
        find_model(str(tmp_path))


def test_runs_are_listed_below_a_folder_or_alone(paid_run: Path) -> None:
    below, alone = runs("list", str(paid_run.parent), "--json"), runs("list", str(paid_run), "--json")
    assert below.stdout == alone.stdout != ""
    assert below.stdout == runs("list", "--root", str(paid_run.parent), "--json").stdout


def test_a_paid_run_is_removed_only_after_a_yes(paid_run: Path) -> None:
    refused = CliRunner().invoke(main, ["runs", "rm", str(paid_run)], input="n\n")
    assert (refused.exit_code, paid_run.exists()) == (1, True)
    assert "cost 0.01 GLM" in refused.stderr
    removed = CliRunner().invoke(main, ["runs", "rm", str(paid_run)], input="y\n")
    assert (removed.exit_code, paid_run.exists()) == (0, False)
