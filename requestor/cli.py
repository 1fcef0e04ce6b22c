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

# name → (module and attribute, the line that `--help` shows; kept here so that help imports no command)
COMMANDS = {
    "train": (
        "requestor.commands.train:train",
        "Train a model on Golem providers (or on local subprocesses).",
    ),
    "runs": ("requestor.commands.runs:runs", "List, show, resume and remove training runs."),
    "offers": ("requestor.commands.offers:offers", "Show who offers to compute on Golem, and at what price."),
    "providers": ("requestor.commands.providers:providers", "List the providers that are banned, and pardon them."),
    "score": ("requestor.commands.score:score", "Score photos with a trained model; local, off-line."),
    "explain": (
        "requestor.commands.explain:explain",
        "Show what a photo's score rests on, and what would move it.",
    ),
    "export": ("requestor.commands.export:export", "Write a model as ONNX or TorchScript."),
    "serve": ("requestor.commands.serve:serve", "Score photos over HTTP, with a page to drop them on."),
    "evaluate": (
        "requestor.commands.evaluate:evaluate",
        "Metrics of a model or of a file of predictions on AVA.",
    ),
    "ava": ("requestor.commands.ava:ava", "Check the AVA data set and make splits."),
    "models": ("requestor.commands.models:models", "List, fetch and import model weights."),
    "image": ("requestor.commands.image:image", "Build, inspect, verify and push the image that providers run."),
    "devnet": ("requestor.commands.devnet:devnet", "A whole Golem network on this machine."),
    "doctor": ("requestor.commands.doctor:doctor", "Check the whole set-up, and say what to do."),
    "completion": (
        "requestor.commands.completion:completion",
        "Print what makes your shell complete commands and options.",
    ),
}


class Reported(click.ClickException):
    """An expected error: one message on stderr, and the exit code that its class asks for."""

    def __init__(self, error: NimaError | RequestorError) -> None:
        super().__init__(str(error))
        self.exit_code = getattr(error, "exit_code", 1)  # type: ignore[misc]  # a class variable in click's stubs


class LazyGroup(click.Group):
    """A group whose commands are imported only when they are run or their own help is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
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
    """Train NIMA, an aesthetic photo scorer, on rented Golem CPUs, and score your photos with it.

    Every option can also stand in nima-golem.toml of the working directory ([train] budget = "2GLM") or in an
    environment variable (NIMA_GOLEM_TRAIN_BUDGET=2GLM); the command line wins.
    """
    if SETTINGS_FILE.exists():
        ctx.default_map = read_settings(SETTINGS_FILE, ctx)


def read_settings(path: Path, ctx: click.Context) -> dict[str, dict[str, Any]]:
    """Defaults by command and option. Raises ConfigurationError for a file that is no TOML or names unknown ones."""
    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} could not be read ({error}).") from error
    for name, options in settings.items():
        if name not in COMMANDS or not isinstance(options, dict):
            raise ConfigurationError(f"{path}: [{name}] is none of the commands {', '.join(COMMANDS)}.")
    chosen = ctx.invoked_subcommand
    command = main.get_command(ctx, chosen) if chosen is not None and chosen in settings else None
    if chosen is not None and command is not None and not isinstance(command, click.Group):
        known = {option.lstrip("-"): p.name for p in command.params for option in p.opts}
        for option in settings[chosen]:
            if option not in known:
                raise ConfigurationError(f"{path}: [{chosen}] {option} is no option of `nima-golem {chosen}`.")
        settings[chosen] = {known[option]: value for option, value in settings[chosen].items()}
    return settings


if __name__ == "__main__":
    main()
