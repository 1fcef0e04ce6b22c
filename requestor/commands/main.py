"""`nima-golem`: the command line. Commands are imported when called, so that `--help` answers at once."""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from nima.errors import NimaError
from nima.safe_io import data_folder, one_line
from requestor.commands.settings import settings_of
from requestor.errors import RequestorError, RunStopped

# section of `--help` → command → its line there; kept here so that help imports no command
SECTIONS = {
    "Photos": {
        "score": "Score photos on this machine.",
        "taste": "Learn your own taste from the stars of your photos.",
        "explain": "Show what a photo's score depends on, and what would change it.",
        "serve": "Score photos over HTTP, with a web page for people.",
    },
    "Training": {
        "train": "Train a model on Golem providers, or in local subprocesses.",
        "runs": "List, show, resume and remove training runs.",
        "evaluate": "Measure how well a model predicts the ratings of AVA.",
    },
    "Models and data": {
        "models": "List, fetch and import model weights.",
        "export": "Write a model as ONNX or TorchScript.",
        "cache": "List and clear the files that can be fetched or made again.",
        "ava": "Check the AVA data set and split it.",
    },
    "Golem": {
        "offers": "List the providers that offer to compute, with their prices.",
        "providers": "List and pardon banned providers.",
        "image": "Build, inspect, verify and push the provider image.",
        "devnet": "Run a whole Golem network on this machine.",
        "doctor": "Check everything that a run needs, and say how to repair it.",
    },
    "Shell": {
        "completion": "Print a script for completion in bash, zsh or fish.",
    },
}
COMMANDS = {name: line for commands in SECTIONS.values() for name, line in commands.items()}

# command → sentence about what is kept if Ctrl-C ends it
KEPT = {
    "score": "The rows so far are written. Scores are kept, unless --no-cache is given: the same command goes on.",
    "taste": "What was computed of the photos is kept: the same command goes on from there.",
    "image": "An image is written when it is finished, so none was written.",
    "devnet": "Nothing of the devnet goes on running; its logs are kept.",
}


EXIT_CODES = {
    0: "The command did what it was asked for.",
    1: "Something failed: the message says what, and what to do. Of many photos, one could not be read.",
    2: "An option, an argument, a settings file or a variable of the environment is wrong. Nothing was done.",
    3: "The training ended well, but its model is worse than always predicting the average.",
    130: "Ctrl-C stopped the command. The message says what is kept, and whether the same command goes on.",
}
"""Each exit code of a command, and its meaning."""

_UNIT = re.compile(r"unexpected extra arguments? \((t?GLM)\)", re.IGNORECASE)


class Reported(click.ClickException):
    """An expected error: it prints one message on stderr and sets the exit code of its class."""

    def __init__(self, error: NimaError | RequestorError) -> None:
        super().__init__(str(error))
        self.exit_code = getattr(error, "exit_code", 1)  # type: ignore[misc]  # a class variable in click's stubs


class LazyGroup(click.Group):
    """A group that imports a command only when it is run or its own help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"requestor.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]  # click's own suggestions know no command that is not imported yet
        if name not in COMMANDS and not ctx.resilient_parsing and (near := get_close_matches(name, COMMANDS, n=1)):
            ctx.fail(f"No such command {one_line(name, 50)!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(longest), line) for name, line in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)  # not the group's, which imports them all

    def main(self, *args: Any, **extra: Any) -> Any:
        # Read when torch is loaded. A thread that waits for another would spin on a core that workers or photos need.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            return super().main(*args, **extra)
        except OSError as error:  # of --help and --version, which are printed before a command is invoked
            _give_up_output()
            Reported(RequestorError(_trouble_with_file(error))).show()
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            try:
                with _leftovers():
                    return super().invoke(ctx)
            finally:
                sys.stdout.flush()  # the last output may find the disk full, too
        except (NimaError, RequestorError) as error:
            raise Reported(error) from error
        except click.UsageError as error:
            unit = _UNIT.search(error.message)
            if unit is None:
                raise
            hint = f"{error.message}. Write an amount without a blank, like 2{unit[1]}."
            raise click.UsageError(hint, error.ctx) from error
        except KeyboardInterrupt:
            kept = KEPT.get(ctx.invoked_subcommand or "", "Files that were finished are kept.")
            raise Reported(RunStopped(f"Stopped. {kept}")) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has seen enough; click ends the program quietly
                raise
            _give_up_output()
            raise Reported(RequestorError(_trouble_with_file(error))) from error


def _trouble_with_file(error: OSError) -> str:
    place = f"{one_line(str(error.filename))}: " if error.filename else "The output: "
    if error.errno == errno.ENOSPC:
        return f"{place}the disk is full. Delete files, or work in another folder."
    return f"{place}{error.strerror or error}. See that the file or folder exists and may be used."


def _give_up_output() -> None:
    """Drops what could not be written to stdout, so that the end of the program does not try it again."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _leftovers() -> Iterator[None]:
    """Tries to release what an earlier command could not, and names what this command leaves."""
    folder = data_folder() / "unreleased"  # looked at first, because the modules for the rest take time to import
    before = set(_names(folder))
    if before:
        _release_again()
    try:
        yield
    finally:
        if set(_names(folder)) - before:
            from requestor.golem import known_leftovers

            for leftover in known_leftovers():
                click.echo(leftover.describe(), err=True)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.json")]


def _release_again() -> None:
    import asyncio

    from requestor.golem import GolemConnection, release_leftovers
    from requestor.setup import golem_environment

    try:
        connection = GolemConnection.from_environment(golem_environment())
        released = asyncio.run(release_leftovers(connection))
    except RequestorError:
        return  # this command may need no Golem; the next one tries again
    for leftover in released:
        click.echo(f"The {leftover.kind} {leftover.id}, which an earlier command left open, is released now.", err=True)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "NIMA_GOLEM"},
)
@click.version_option(package_name="nima-golem")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train NIMA, a model that rates photos, on rented Golem CPUs, and score your photos with it.

    Every option can also be set by an environment variable (NIMA_GOLEM_TRAIN_BUDGET=2GLM) or in your own settings
    ([train] budget = "2GLM" in nima-golem/nima-golem.toml in your folder for configuration, ~/.config on Linux). Some
    can be set in nima-golem.toml in the working directory: docs/cli.md lists them. The command line wins over the
    variable, the variable over the working directory, and the working directory over your own settings.
    """
    chosen = ctx.invoked_subcommand
    if chosen in COMMANDS:
        command = main.get_command(ctx, chosen)
        assert command is not None
        ctx.default_map = {chosen: settings_of(chosen, command, COMMANDS)}


if __name__ == "__main__":
    main()
