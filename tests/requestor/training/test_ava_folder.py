"""The data set of a run: the named one, ./ava or this folder; and the ways to get one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from run_commands import nima_golem

from requestor.errors import ConfigurationError
from requestor.training import choose_ava_folder


def list_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "AVA.txt").write_text("")
    return folder


def test_the_folder_and_its_list_name_the_same_data_set(tmp_path: Path) -> None:
    folder = list_in(tmp_path / "data")
    assert choose_ava_folder(folder) == folder
    assert choose_ava_folder(folder / "AVA.txt") == folder


def test_without_a_name_it_is_ava_and_then_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(list_in(tmp_path))
    assert choose_ava_folder(None).resolve() == tmp_path
    list_in(tmp_path / "ava")
    assert choose_ava_folder(None).resolve() == tmp_path / "ava"


def test_a_named_folder_is_never_replaced_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(list_in(tmp_path))
    with pytest.raises(ConfigurationError, match="--ava nowhere is no AVA data set"):
        choose_ava_folder(Path("nowhere"))


def test_the_words_alone_say_the_ways_to_data_and_exit_with_2(tmp_path: Path) -> None:
    done = nima_golem("train", "--budget", "2GLM", folder=tmp_path)
    assert done.returncode == 2
    for way in ("nima-golem ava tiny ava", "AVA.txt", "images/<image id>.jpg", "--ava"):
        assert way in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_users_own_settings_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_ava_folder(tmp_path / "data")
    (tmp_path / "nima-golem").mkdir()
    (tmp_path / "nima-golem" / "nima-golem.toml").write_text(f'[train]\nava = "{folder}"\nbudget = "2GLM"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    done = nima_golem("train", "--backend", "local", "--estimate", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_commands_take_a_data_set_by_its_list(tmp_path: Path) -> None:
    name = str(make_ava_folder(tmp_path / "ava") / "AVA.txt")
    for arguments in (
        ("train", "--ava", name, "--budget", "2GLM", "--backend", "local", "--estimate"),
        ("ava", "check", name),
        ("ava", "split", name, "random", "--output", str(tmp_path / "splits")),
    ):
        done = nima_golem(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
