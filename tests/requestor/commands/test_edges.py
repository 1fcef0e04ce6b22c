"""Full disks, read-only folders, outputs that cannot be written, and torn or edited files: one sentence each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from ava_folder import make_ava_folder
from click.testing import CliRunner
from command_tree import commands as command_paths
from drawn_photos import encoded, picture
from run_folder import pay, start_run
from spread_model import save_spread_model

from requestor.commands.main import main

WALK = """
import json, os, subprocess, sys
from pathlib import Path
from click.testing import CliRunner
from requestor.commands.main import main

folder, kind, commands = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
os.chdir(folder)
Path("existing").mkdir()
if kind == "full":
    with open("filler", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
else:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
for command in commands:
    done = CliRunner().invoke(main, command)
    unexpected = None if done.exception is None or isinstance(done.exception, SystemExit) else repr(done.exception)
    print(json.dumps([command, done.exit_code, done.stderr, unexpected]))
"""

GROUPS = {path[0] for path in command_paths(main) if len(path) == 2}
# What these only read, they find on any disk.
READING = (
    *(["runs", "list"], ["providers", "list"], ["models", "list"], ["models", "info"], ["ava", "check"]),
    *(["evaluate"], ["completion"], ["cache", "list"], ["cache", "clear"]),
)


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_commands_that_cannot_write_say_so_in_a_sentence(kind: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    photo, model, ava = tmp_path / "photo.png", tmp_path / "model.safetensors", tmp_path / "ava"
    photo.write_bytes(encoded(picture(1), "PNG"))
    save_spread_model(model)
    make_ava_folder(ava, images=12, tested=4)
    (tmp_path / "stars.csv").write_text("path,stars\nphoto.png,5\n")
    scoring = ["score", str(photo), "--model", str(model)]
    commands = [
        [*scoring, "--format", "csv", "--output", "scores.csv"],
        [*scoring, "--html", "sheet.html"],
        [*scoring, "--cache", "cache.sqlite"],
        [*scoring, "--copy-to", "copies"],
        [*scoring, "--link-to", "links"],
        ["explain", str(photo), "--model", str(model), "--output", "why.png"],
        ["export", str(model), "--format", "torchscript", "--output", "model.pt"],
        ["ava", "tiny", "tiny", "--images", "40"],
        ["ava", "tiny", "existing", "--images", "40"],
        ["ava", "import", str(tmp_path / "stars.csv"), "imported"],
        ["taste", str(ava / "images")],
        ["cache", "list"],
        ["ava", "split", str(ava), "random", "--output", "split"],
        ["train", "--ava", str(ava), "--budget", "1GLM", "--backend", "local", "--run-dir", "run"],
        ["models", "import", "mobilenet_v1-ava", str(photo)],
        ["runs", "list"],
        ["runs", "show", "existing"],
        ["runs", "report", "existing"],
        ["runs", "resume", "existing"],
        ["runs", "rm", "existing"],
        ["providers", "list"],
        ["providers", "pardon", "0x1"],
        ["evaluate", "--model", str(model), "--ava", str(ava), "--bootstrap", "0"],
        ["models", "list"],
        ["models", "info", str(model)],
        ["models", "pull", "mobilenet_v1-ava"],
        ["ava", "check", str(ava)],
        ["image", "build", "--output", "provider.gvmi"],
        ["image", "info", str(photo)],
        ["image", "verify", str(photo)],
        ["image", "push", str(photo), "--anonymous"],
        ["devnet", "up", "--detach"],
        ["devnet", "down"],
        ["devnet", "env"],
        ["devnet", "logs"],
        ["devnet", "settle"],
        ["devnet", "status"],
        ["offers", "--seconds", "1"],
        ["doctor"],
        ["serve", "--model", str(model), "--port", "1", "--host", "192.0.2.1", "--allow-network"],
        ["completion", "bash"],
        ["cache", "clear", "--yes"],
    ]
    named = {" ".join(command[: 2 if command[0] in GROUPS else 1]) for command in commands}
    leaves = [path for path in command_paths(main) if path[0] not in GROUPS or len(path) == 2]
    assert named == {" ".join(path) for path in leaves}, "every command is walked"
    program = [sys.executable, "-c", WALK, str(tmp_path / "disk"), kind, json.dumps(commands)]
    places = {f"XDG_{name}_HOME": str(tmp_path / "disk" / name) for name in ("CONFIG", "DATA", "CACHE")}
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", *program],
        capture_output=True,
        text=True,
        env=os.environ | places | {"NIMA_GOLEM_CACHE": str(tmp_path / "disk" / "cache"), "PIP_NO_INDEX": "1"},
        timeout=250,
    )
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("needs user namespaces")
    walked = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(walked) == len(commands), done.stderr
    for command, code, output, unexpected in walked:
        assert unexpected is None, command
        assert "Traceback" not in output, command
        if command[:2] in READING or command[:1] in READING:
            assert code == 0, (command, output)
        elif command == ["doctor"] or (command == ["devnet", "logs"] and code == 0):
            assert code in (0, 1, 2)  # it lists what is there, and what is missing
        elif "--link-to" in command and kind == "full":
            assert code == 0  # a link takes no block of the disk
        else:
            assert code in (1, 2), (command, output)
            assert output.strip().endswith((".", "`")), (command, output)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["score", "--help"], ["completion", "bash"], ["ava", "tiny", "--help"]]
)
def test_an_output_that_takes_nothing_is_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "requestor.commands.main", *arguments]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "Error: The output: the disk is full. Delete files, or work in another folder.\n"


def edited(text: str | bytes) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        with path.open("ab") as file:
            file.write((text if isinstance(text, bytes) else text.encode()) + b"\n")

    return edit


@pytest.mark.parametrize("name", ["ledger.jsonl", "state.json", "run.json", "options.json"])
@pytest.mark.parametrize(
    "edit",
    [
        edited("[1]"),
        edited('{"x": 1}'),
        edited('{"event": "invoice", "agreement": "a", "amount": "much"}'),
        edited('{"event": "invoice", "agreement": "a", "amount": "NaN"}'),
        edited('{"event": "agreement", "agreement": ["a"]}'),
        edited(b"\xff\xfe"),
        edited("[" * 100_000),
        lambda path: path.write_text("[1]\n"),
        lambda path: path.write_text('{"round": "x", "wanted": {}, "budget": []}\n'),
        lambda path: path.write_text("\x1b[2J\n"),
    ],
)
def test_a_torn_or_edited_file_of_a_run_is_one_sentence(
    name: str, edit: Callable[[Path], object], tmp_path: Path
) -> None:
    ava = make_ava_folder(tmp_path / "ava", images=12, tested=4)
    folder = start_run(tmp_path / "run", ava, "golem")
    (tmp_path / "run" / "run.json").write_text('{"rounds": 3, "ava": "x"}')
    pay(folder, "fox", Decimal("0.1"))
    folder.close()
    edit(tmp_path / "run" / name)
    done = CliRunner().invoke(main, ["runs", "show", str(tmp_path / "run")])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    if done.exit_code:
        assert done.exit_code == 1
        assert done.output.startswith("Error: ")
        assert done.output.count("\n") == 1
        assert done.output.strip().isprintable()
    else:
        assert name in ("state.json", "options.json", "run.json")
