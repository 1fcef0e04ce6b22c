"""`nima-golem`: the command line. Commands are imported when called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from nima.errors import NimaError
from requestor.errors import ConfigurationError, RequestorError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# section of `--help` → command → its line there; kept here so that help imports no command
SECTIONS = {
    "Photos": {
        "score": "Score photos on this machine.",
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(longest), line) for name, line in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)  # not the group's, which imports them all

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (NimaError, RequestorError) as error:
            raise Reported(error) from error


SETTINGS_FILE = Path("nima-golem.toml")  # of the working directory; a table a command, a key an option


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "NIMA_GOLEM"},
)
@click.version_option(package_name="nima-golem")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train NIMA, a model that rates photos, on rented Golem CPUs, and score your photos with it.

    Every option can also be set in the file nima-golem.toml in the working directory ([train] budget = "2GLM") or by an
    environment variable (NIMA_GOLEM_TRAIN_BUDGET=2GLM). The command line wins over the variable, and the variable wins
    over the file.
    """
    if SETTINGS_FILE.exists():
        ctx.default_map = read_settings(SETTINGS_FILE, ctx)


def read_settings(path: Path, ctx: click.Context) -> dict[str, dict[str, Any]]:
    """Returns default values by command and option.

    Raises ConfigurationError if the file is not TOML or names an unknown command or option.
    """
    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} could not be read ({error}). Repair or delete the file.") from error
    for name, options in settings.items():
        if name not in COMMANDS or not isinstance(options, dict):
            raise ConfigurationError(f"{path}: [{name}] is not a command. Choose one of {', '.join(COMMANDS)}.")
    chosen = ctx.invoked_subcommand
    command = main.get_command(ctx, chosen) if chosen is not None and chosen in settings else None
    if chosen is not None and command is not None and not isinstance(command, click.Group):
        known = {option.lstrip("-"): p.name for p in command.params for option in p.opts}
        for option in settings[chosen]:
            if option not in known:
                raise ConfigurationError(
                    f"{path}: [{chosen}] {option} is not an option. `nima-golem {chosen} --help` lists the options."
                )
        settings[chosen] = {known[option]: value for option, value in settings[chosen].items()}
    return settings


if __name__ == "__main__":
    main()
