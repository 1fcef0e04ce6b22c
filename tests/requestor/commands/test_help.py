"""Every command's help shows examples, and they are valid as they stand."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest
from command_tree import commands

import requestor.commands as commands_package
from requestor.commands.main import SECTIONS, main


def help_of(path: tuple[str, ...]) -> str:
    context, command = click.Context(main, info_name="nima-golem", **main.context_settings), main
    for name in path:
        command = command.get_command(context, name)
        context = click.Context(command, info_name=name, parent=context)
    return command.get_help(context)


def examples(text: str) -> list[str]:
    """Returns the calls of nima-golem in the lines below "Examples:", without the shell's other words."""
    block = re.search(r"^ *Examples:\n((?: +.*\n?)+)", text, re.M)
    lines = block[1].splitlines() if block else []
    found = [re.search(r'nima-golem (.*?)(?: > .*| \| .*| +# .*|\)"?)?$', line) for line in lines]
    return [call[1] for call in found if call]


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_help_has_examples_that_parse(path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("NIMA_GOLEM")]:
        monkeypatch.delenv(variable)
    calls = examples(help_of(path))
    assert any(call.startswith(" ".join(path)) for call in calls)
    for call in calls:
        context, command, arguments = click.Context(main), main, shlex.split(call)
        while isinstance(command, click.Group):
            name, command, arguments = command.resolve_command(context, arguments)
            context = click.Context(command, info_name=name, parent=context)
        try:
            command.make_context(name, arguments, parent=context.parent)
        except click.BadParameter as error:
            if "does not exist" not in error.message:  # an error other than the missing file
                raise


def test_the_commands_are_listed_in_sections() -> None:
    text = main.get_help(click.Context(main, info_name="nima-golem", **main.context_settings))
    blocks = {block.split(":\n")[0]: block for block in text.split("\n\n")}
    assert [name for name in blocks if name in SECTIONS] == ["Photos", "Training", "Models and data", "Golem", "Shell"]
    for section, lines in SECTIONS.items():
        assert [line.split()[0] for line in blocks[section].splitlines()[1:]] == list(lines)


def test_every_module_of_a_command_is_in_one_section() -> None:
    folder = Path(commands_package.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "main", "settings"}
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(modules)
