"""Settings files: the user's own may set everything, one that came with a folder only what does no harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from command_tree import commands

from requestor.commands.main import COMMANDS, main
from requestor.commands.settings import FILE_NAME, OF_A_FOLDER, settings_of
from requestor.errors import ConfigurationError


def command_of(*path: str) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def options_of(*path: str) -> dict[str, click.Option]:
    """Returns the options of a command, by their names in a file."""
    parameters = [one for one in command_of(*path).params if isinstance(one, click.Option)]
    return {option.lstrip("-"): one for one in parameters for option in one.opts}


LEAVES = [path for path in commands(main) if not isinstance(command_of(*path), click.Group)]
DANGEROUS = {
    *("budget", "max-price", "backend", "network", "subnet", "yes", "force", "allow-network", "allow-host", "host"),
    *("port", "output", "overwrite", "html", "copy-to", "link-to", "xmp", "overwrite-ratings", "cache", "run-dir"),
    *("root", "tag", "unfunded", "fault", "detach", "image", "rate", "max-waiting"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and a home with no settings."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return here


def settings(*path: str) -> dict[str, Any]:
    return settings_of(path[0], command_of(path[0]), COMMANDS)


def file_with(path: tuple[str, ...], option: str, value: str = '"x"') -> str:
    return f"[{'.'.join(path)}]\n{option} = {value}\n"


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_other_option_of_a_folders_file_is_refused(path: tuple[str, ...], folder: Path) -> None:
    for option in options_of(*path):
        (folder / FILE_NAME).write_text(file_with(path, option))
        if option in OF_A_FOLDER.get(" ".join(path), ()):
            assert settings(*path)
        else:
            with pytest.raises(ConfigurationError, match=f"{option} may not be set by a file of a folder"):
                settings(*path)


def test_no_option_about_money_networks_hosts_outputs_or_consent_is_free() -> None:
    assert not DANGEROUS & {option for options in OF_A_FOLDER.values() for option in options}


def test_the_list_of_a_folders_options_names_options_that_exist() -> None:
    for name, options in OF_A_FOLDER.items():
        assert set(options) <= options_of(*name.split()).keys(), name


def test_the_users_own_settings_may_set_everything_and_a_folders_file_comes_before_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "config" / "nima-golem" / FILE_NAME
    own.parent.mkdir(parents=True)
    own.write_text('[score]\nhtml = "sheet.html"\ntop = 3\nsort = "path"\n[devnet.up]\nproviders = 2\n')
    (folder / FILE_NAME).write_text("[score]\ntop = 5\nbest-of-group = true\n[ava.tiny]\nimages = 50\n")
    assert settings("score") == {"html": "sheet.html", "top": 5, "sort": "path", "best_of_group": True}
    assert settings("devnet") == {"up": {"providers": 2}}
    assert capsys.readouterr().err.splitlines() == [
        "nima-golem.toml in this folder sets [score] top = 5, [score] best-of-group = True."
    ]


def test_what_a_folders_file_sets_is_said_in_one_printable_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / FILE_NAME).write_text('[score]\nmodel = "a\\u001b[2J\\nb"\n')
    settings("score")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[train", "could not be read"),
        ("[trian]\nseed = 1", "[trian] is not a command"),
        ("[train]\nbugdet = 2", "bugdet is not an option"),
        ("train = 3", "must be a table"),
        ("[ava.huge]\nimages = 1", "[ava.huge] is not a command"),
        ("[ava]\ntiny = 1", "must be a table"),
        ("[train]\nseed = [1]", "must be a text, a number"),
        ("[train]\nseed = {a = 1}", "must be a text, a number"),
        ("[train]\nseed = 2026-01-01", "must be a text, a number"),
        ("x = " + "[" * 5000, "could not be read"),
        ("#" * 100_000, "larger than"),
        (b"\xff", "could not be read"),
    ],
)
def test_a_wrong_settings_file_is_one_clear_error(content: str | bytes, complaint: str, folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as refusal:
        settings("ava" if "ava" in str(content) else "train")
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_pipe_in_place_of_the_file_makes_nobody_wait(folder: Path) -> None:
    os.mkfifo(folder / FILE_NAME)
    assert settings("score") == {}


def nima_golem(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "requestor.commands.main", *arguments]
    variables = os.environ | {"XDG_CONFIG_HOME": str(cwd / "config")} | environment
    return subprocess.run(program, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (["serve"], '[serve]\nhost = "0.0.0.0"\nallow-network = true\n'),
        (["score", "photo.jpg"], '[score]\noutput = "../outside.csv"\n'),
        (["train", "--ava", "."], '[train]\nbudget = "500GLM"\nnetwork = "polygon"\nyes = true\n'),
    ],
)
def test_a_downloaded_folder_neither_listens_nor_writes_nor_spends(
    command: list[str], content: str, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    done = nima_golem(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert "may not be set by a file of a folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.parent.glob("outside.csv")) == []


def test_the_command_line_comes_before_the_environment_and_that_before_a_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('[train]\nseed = "from-file"\n')

    def complaint(*arguments: str, **environment: str) -> str:
        return nima_golem("train", "--budget", "2GLM", *arguments, cwd=tmp_path, **environment).stderr

    assert "'from-file'" in complaint()
    assert "'from-variable'" in complaint(NIMA_GOLEM_TRAIN_SEED="from-variable")
    assert "'typed'" in complaint("--seed", "typed", NIMA_GOLEM_TRAIN_SEED="from-variable")
