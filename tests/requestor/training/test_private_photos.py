"""Private photos go to providers only if their owner agrees, once a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest
from ava_folder import make_ava_folder
from train_options import train_options

from nima.ava import Dataset
from requestor.errors import ConfigurationError
from requestor.records import RunFolder
from requestor.terminal import ask_about_privacy
from requestor.training.config import RunConfig
from requestor.training.privacy import evaluation_notice, note_agreement, privacy_notice


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_ava_folder(tmp_path_factory.mktemp("data") / "mine", images=16)
    Dataset("mine", "me", private=True).write(folder)
    return folder


def notice(ava: Path, folder: RunFolder, **options: object) -> str | None:
    config = RunConfig.of(train_options(ava, run_dir=folder.path, backend="golem", **options), {})
    return privacy_notice(config, folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    for name in [name for name in os.environ if name.startswith(("YAGNA", "NIMA_GOLEM_DEVNET"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YAGNA_APPKEY", "of-no-devnet")
    return RunFolder(tmp_path / "run", {})


def test_the_owner_is_told_what_providers_see_and_asked_once_a_run(ava: Path, folder: RunFolder) -> None:
    said = notice(ava, folder, strategy="embed")
    assert said is not None
    assert said.startswith("The photos of mine are private.")
    assert "224 x 224 pixels" in said
    assert said.endswith("and no ratings.")
    note_agreement(folder)
    assert notice(ava, folder, strategy="embed") is None


def test_rounds_show_ratings_too(ava: Path, folder: RunFolder) -> None:
    said = notice(ava, folder, strategy="auto")
    assert said is not None
    assert said.endswith("and the ratings of those that they train on.")


def test_an_evaluation_shows_the_photos_for_testing(ava: Path, folder: RunFolder, tmp_path: Path) -> None:
    said = evaluation_notice(ava)
    assert said is not None
    assert "see and may keep those for testing" in said
    assert evaluation_notice(make_ava_folder(tmp_path / "public", images=16)) is None


def test_nobody_is_asked_about_photos_that_stay_here_or_are_public(
    ava: Path, folder: RunFolder, tmp_path: Path
) -> None:
    local = RunConfig.of(train_options(ava, run_dir=folder.path, backend="local"), {})
    assert privacy_notice(local, folder) is None
    assert notice(make_ava_folder(tmp_path / "public", images=16), folder) is None


def test_without_a_terminal_the_ways_out_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(ConfigurationError, match=r"^They see it\. Pass --yes to agree, or --backend local"):
        ask_about_privacy("They see it.", yes=False)


@pytest.mark.parametrize("answer", [True, False])
def test_at_a_terminal_the_answer_counts(answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(text: str, **options: object) -> None:
        asked.append(text)
        if not answer:
            raise click.Abort

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", confirm)
    if answer:
        ask_about_privacy("They see it.", yes=False)
    else:
        with pytest.raises(click.Abort):
            ask_about_privacy("They see it.", yes=False)
    assert asked == ["They see it. Continue?"]


def test_who_agreed_in_the_command_is_told_nevertheless(capsys: pytest.CaptureFixture[str]) -> None:
    ask_about_privacy("They see it.", yes=True)
    assert capsys.readouterr().err == "They see it.\n"
