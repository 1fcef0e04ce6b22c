"""The page about settings names every environment variable that the program reads, and its example is valid."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from requestor.commands.main import COMMANDS, main
from requestor.commands.settings import FILE_NAME, settings_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
NAME = r"\b(?:NIMA_GOLEM|YAGNA|GSB|XDG|OMP)_[A-Z_]+\b"
# Names that are no settings of a user: an example, and what completion and the daemons of a devnet read.
OTHERS = {
    "NIMA_GOLEM_TRAIN_BUDGET", "NIMA_GOLEM_COMPLETE", "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION",
    "YAGNA_AUTOCONF_ID_SECRET", "YAGNA_AUTOCONF_APPKEY",
}  # fmt: skip


def test_every_variable_of_the_sources_is_on_the_page_and_no_other() -> None:
    sources = [path for part in ("nima", "requestor", "provider_image") for path in (ROOT / part).rglob("*.py")]
    read = {name for path in sources for name in re.findall(NAME, path.read_text("utf-8"))} - OTHERS
    named = set(re.findall(rf"`({NAME})`", PAGE.partition("## Environment variables")[2].partition("\n| variable")[2]))
    assert len(named) > 15
    assert named == read


def test_the_names_of_options_in_the_environment_are_those_of_click() -> None:
    for name in re.findall(r"`(NIMA_GOLEM_(?:SCORE|DEVNET_UP)_[A-Z]+)`", PAGE):
        *path, option = name.removeprefix("NIMA_GOLEM_").lower().split("_")
        command: click.Command | None = main
        for part in path:
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), part)
        assert command is not None
        assert option in {parameter.name for parameter in command.params}


def test_the_example_of_a_file_sets_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nima-golem").mkdir()
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    (tmp_path / "nima-golem" / FILE_NAME).write_text(example)

    def set_by_file(name: str) -> dict[str, object]:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        return settings_of(name, command, COMMANDS)

    assert set_by_file("train") == {"ava": "/data/ava", "budget": "2GLM"}
    assert set_by_file("score") == {"sort": "score"}
    assert set_by_file("devnet") == {"up": {"providers": 5}}
