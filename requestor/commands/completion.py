"""`nima-golem completion`: prints a script that makes the shell complete commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and files with Tab.

    bash (4.4 or newer) and zsh run the script at each start, from ~/.bashrc or ~/.zshrc. fish reads it from a file.

    \b
    Examples:
        eval "$(nima-golem completion bash)"
        eval "$(nima-golem completion zsh)"
        nima-golem completion fish > ~/.config/fish/completions/nima-golem.fish
    """
    from requestor.commands.main import main

    made = get_completion_class(shell)
    assert made is not None  # of these three
    click.echo(made(main, {}, "nima-golem", "_NIMA_GOLEM_COMPLETE").source())
