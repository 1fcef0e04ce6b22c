"""Reads default values of options from two TOML files: the user's own settings, and those of the working directory.

A folder may come from a stranger, so its file sets only the options in `OF_A_FOLDER`: none of them spends money, names
a network or a host, writes a file, or answers a question. Both files have a table for each command (`[train]`,
`[devnet.up]`) with a key for each option.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from nima.safe_io import FileError, config_folder, one_line, read_bounded
from requestor.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "nima-golem.toml"

OF_A_FOLDER: dict[str, tuple[str, ...]] = {
    "score": (
        *("recursive", "null", "model", "format", "top", "min-score", "sort", "group", "best-of-group"),
        *("device", "runtime", "batch-size", "threads", "quiet", "verbose"),
    ),
    "explain": ("model", "json", "device"),
    "serve": ("model", "device", "runtime"),
    "train": ("backbone", "strategy", "rounds", "aggregation", "proximal", "workers", "test-ids", "seed", "json"),
    "evaluate": ("predictions", "model", "ava", "ids", "bootstrap", "compare", "json"),
    "runs list": ("json",),
    "runs show": ("json",),
    "models info": ("json",),
    "models list": ("json",),
    "export": ("format", "json"),
    "cache list": ("json",),
    "ava check": ("threads",),
    "ava split": ("ids", "seed", "test-share", "clean"),
    "ava tiny": ("images", "seed"),
    "offers": ("seconds", "json"),
    "providers list": ("json",),
    "image info": ("json",),
    "image verify": ("json",),
    "devnet logs": ("lines",),
    "devnet status": ("json",),
    "doctor": ("json",),
}
"""The options of each command that a file in the working directory may set."""

_MOST_BYTES = 64 * 1024
_VALUES = (str, int, float)  # a bool is an int


def user_settings_file() -> Path:
    """Returns the path of the user's own settings, which need not exist; they may set every option."""
    return config_folder() / FILE_NAME


def settings_of(name: str, command: click.Command, commands: Collection[str]) -> dict[str, Any]:
    """Returns default values for a command and its subcommands, as click's `default_map` has them.

    The values of the working directory's file replace those of the user's own. Says on stderr in one line what the
    working directory's file sets for this command.

    Args:
        name: name of the command on the command line.
        command: the command.
        commands: names of all commands.

    Raises:
        ConfigurationError: a file cannot be read, is not TOML, or names an unknown command or option; or the working
            directory's file sets an option that it may not set.
    """
    own, found = _read(user_settings_file(), commands), _read(Path(FILE_NAME), commands)
    defaults = _checked(user_settings_file(), name, command, own.get(name, {}), free=True)
    here = _checked(Path(FILE_NAME), name, command, found.get(name, {}), free=False)
    if said := list(_said(name, here)):
        click.echo(one_line(f"{FILE_NAME} in this folder sets {', '.join(said)}."), err=True)
    return _merged(defaults, here)


def _read(path: Path, commands: Collection[str]) -> dict[str, Any]:
    """Returns the tables of a file; none if it does not exist."""
    try:
        if not path.exists():
            return {}
        tables: dict[str, Any] = tomllib.loads(read_bounded(path.resolve(), _MOST_BYTES).decode())
    except FileError as error:
        raise ConfigurationError(f"{error} Repair or delete the file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        reason = one_line(str(error), 200)
        raise ConfigurationError(f"{path} could not be read ({reason}). Repair or delete the file.") from error
    for name in tables:
        if name not in commands:
            raise ConfigurationError(f"{path}: [{_shown(name)}] is not a command. Choose one of {', '.join(commands)}.")
    return tables


def _checked(path: Path, name: str, command: click.Command, table: Any, *, free: bool) -> dict[str, Any]:
    """Returns a table with the names of click's parameters in place of the options'; `free` allows every option."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name} is a command, so it must be a table: [{name}].")
    checked: dict[str, Any] = {}
    if isinstance(command, click.Group):
        for key, inner in table.items():
            below = command.commands.get(key)
            if below is None:
                raise ConfigurationError(
                    f"{path}: [{name}.{_shown(key)}] is not a command. Choose one of {', '.join(command.commands)}."
                )
            checked[key] = _checked(path, f"{name} {key}", below, inner, free=free)
        return checked
    known = {option.lstrip("-"): p for p in command.params for option in p.opts if isinstance(p, click.Option)}
    heading = name.replace(" ", ".")
    for option, value in table.items():
        parameter = known.get(option)
        if parameter is None:
            raise ConfigurationError(
                f"{path}: [{heading}] {_shown(option)} is not an option. `nima-golem {name} --help` lists the options."
            )
        if not free and option not in OF_A_FOLDER.get(name, ()):
            raise ConfigurationError(
                f"{path}: [{heading}] {option} may not be set by a file of a folder, which could come from anybody. "
                f"Put it into {user_settings_file()}, or pass --{option}."
            )
        values = value if isinstance(value, list) and parameter.multiple else [value]
        if not all(isinstance(one, _VALUES) for one in values):
            raise ConfigurationError(f"{path}: [{heading}] {option} must be a text, a number, or true or false.")
        checked[parameter.name or option] = value
    return checked


def _said(name: str, table: dict[str, Any]) -> Iterator[str]:
    heading = name.replace(" ", ".")
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _said(f"{name} {key}", value)
        else:
            yield f"[{heading}] {key.replace('_', '-')} = {value!r}"


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _shown(key: str) -> str:
    return one_line(key, 100)
