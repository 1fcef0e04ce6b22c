"""Completion, tested in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def nima_golem(*arguments: str) -> str:
    command = [sys.executable, "-m", "requestor.commands.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout


def completed_by_bash(line: str, folder: Path) -> set[str]:
    """Returns bash's completions at the end of a line, from the function that is registered, as Tab calls it."""
    words = line.split(" ")
    program = f"""
        eval "$(nima-golem completion bash)"
        registered=$(complete -p nima-golem) || exit 1
        function=$(sed -n 's/.*-F \\([^ ]*\\).*/\\1/p' <<< "$registered")
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}) COMP_CWORD={len(words) - 1}
        "$function" nima-golem '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    command = ["bash", "--norc", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT, cwd=folder)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("nima-golem sco", {"score"}),
        ("nima-golem devnet s", {"status", "settle"}),
        ("nima-golem score --xmp", {"--xmp", "--xmp-style"}),
        ("nima-golem score --format js", {"json", "jsonl"}),
        ("nima-golem completion z", {"zsh"}),
    ],
)
def test_bash_completes_commands_options_and_values(line: str, offered: set[str], tmp_path: Path) -> None:
    assert completed_by_bash(line, tmp_path) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_calls_the_program(shell: str) -> None:
    script = nima_golem("completion", shell)
    assert f"_NIMA_GOLEM_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n"], input=script, text=True, check=True)  # parses it without running it


def test_commands_are_completed_without_being_imported(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom requestor.commands.main import main\n"
        "try:\n    main(prog_name='nima-golem')\nexcept SystemExit:\n    pass\n"
        "commands = {name for name in sys.modules if name.startswith('requestor.commands.')}\n"
        "print(sorted(commands - {'requestor.commands.main', 'requestor.commands.settings'}))"
    )
    asked = {"_NIMA_GOLEM_COMPLETE": "bash_complete", "COMP_WORDS": "nima-golem ", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**ENVIRONMENT, **asked})
    *offered, imported = done.stdout.splitlines()
    assert "plain,train" in offered
    assert imported == "[]"
