"""Tables of commands: aligned on terminals of any width, in full elsewhere, and safe from what strangers wrote."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from requestor.terminal.tables import Column, field_lines, table_lines

WIDTHS = [60, 80, 120]
HOSTILE = "[bold]evil[/bold] \x1b[2J\x1b[31mred\u202e\r\n漢字漢字 name-of-a-provider"
COLUMNS = (
    Column("name", if_narrow="cut end"),
    Column("tasks", "right"),
    Column("paid GLM", "right"),
    Column("reason", if_narrow="fold"),
)
OFFERS = f"""
from requestor.commands.offers import _COLUMNS
from requestor.terminal.tables import table_lines, terminal_width
rows = [[name, "16", "15.5", "0.0000", "0.0300", "0.0100", "0.1300"] for name in ("bold-fox", {HOSTILE!r})]
print("\\n".join(table_lines(_COLUMNS, rows, terminal_width())))
"""
DEVNET = f"""
from decimal import Decimal
from requestor.commands.devnet import _table
from requestor.devnet.settlement import ProviderAccount
paid = Decimal("0.001234567891")
_table([ProviderAccount(n, "0x1", "computing", 12, paid, paid, paid, 1000 + paid, "slow:4")
        for n in ("provider-1", {HOSTILE!r})])
"""
SCORE = f"""
import sys
from nima.scoring.score import Group, Score
from requestor.scoring.table import as_table
from requestor.terminal.tables import terminal_width
names = ("holiday/2024/a-photo-with-a-rather-long-name-{{}}.jpg", {HOSTILE!r})
scores = [Score.of(name, [0.1] * 10, "model@0", 30, 20) for name in names]
scores.append(Score.failed("b.jpg", "model@0", "holiday/b.jpg: this is no photo in a known format. " + {HOSTILE!r}))
sys.stdout.write("".join(as_table(scores, terminal_width())))
"""
EXPLAIN = """
from requestor.commands.explain import _COLUMNS
from requestor.terminal.tables import table_lines, terminal_width
rows = ["crop", ["  left third away", "+0.12", "± 0.05", "no more than noise"]]
print("\\n".join(table_lines(_COLUMNS, rows, terminal_width())))
"""
PROGRAM = "import sys; from requestor.commands.main import main; main(sys.argv[1:])"
SCREENS = {
    "offers": [OFFERS],
    "devnet status": [DEVNET],
    "score": [SCORE],
    "explain": [EXPLAIN],
    "models list": [PROGRAM, "models", "list"],
    "models info": [PROGRAM, "models", "info", "mobilenet_v2-imagenet"],
    "providers list": [PROGRAM, "providers", "list"],
    "runs list": [PROGRAM, "runs", "list"],
    "runs show": [PROGRAM, "runs", "show", "runs/a-run-with-a-rather-long-name-mobilenet_v2-0"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two runs and, as XDG_DATA_HOME, with two banned providers."""
    root = tmp_path_factory.mktemp("screens")
    for name in ("a-run-with-a-rather-long-name-mobilenet_v2-0", "漢字 [red]run"):
        run = root / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text('{"backbone": "mobilenet_v2"}')
        (run / "options.json").write_text('{"backend": "golem", "strategy": "fine-tune"}')
        (run / "state.json").write_text('{"round": 3, "wanted": 12}')
        (run / "summary.json").write_text('{"metrics": {"srcc": 0.61234}}')
    reason = "Its features differ from those that this machine computes for 3 of 4 photos."
    bans = {f"0x{n:040x}": {"name": HOSTILE, "reason": reason, "since": "2025-01-02T03:04:05+00:00"} for n in (1, 2)}
    (root / "nima-golem").mkdir()
    (root / "nima-golem" / "banned-providers.json").write_text(json.dumps(bans))
    return root


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "XDG_DATA_HOME": str(folder), "NIMA_GOLEM_CACHE": str(folder), "TERM": "xterm", **more}


def on_a_terminal(screen: str, folder: Path, width: int) -> list[str]:
    """The lines that a command writes to a pseudo-terminal of this width."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", *SCREENS[screen]],
        cwd=folder,
        env=environment(folder, COLUMNS=str(width)),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode().replace("\r\n", "\n").splitlines()


@cache
def in_a_pipe(screen: str, folder: Path) -> list[str]:
    command = [sys.executable, "-c", *SCREENS[screen]]
    # COLUMNS says how wide a terminal is, and there is none.
    done = subprocess.run(command, cwd=folder, env=environment(folder, COLUMNS="40"), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("screen", SCREENS)
def test_on_a_terminal_no_line_is_too_long_and_no_word_is_broken(screen: str, width: int, folder: Path) -> None:
    lines, whole = on_a_terminal(screen, folder, width), in_a_pipe(screen, folder)
    words = {word for line in whole for word in line.split()}
    assert "\x1b" not in "".join(lines)
    for line in lines:
        longest = max(map(cell_len, line.split()), default=0)  # a link or a hash may be longer than the terminal
        assert cell_len(line) <= max(width, longest + 20)
        assert {word for word in line.split() if "…" not in word} <= words


@pytest.mark.parametrize("screen", SCREENS)
def test_in_a_pipe_nothing_is_cut_or_escaped(screen: str, folder: Path) -> None:
    text = "\n".join(in_a_pipe(screen, folder))
    assert "\x1b" not in text
    assert "name-of-a-provider" in text or HOSTILE not in "".join(SCREENS[screen])
    assert "name-…" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())


cells = st.text(max_size=20)
rows_of_cells = st.lists(st.tuples(cells, st.integers(0, 9999).map(str), st.floats(0, 9).map("{:.6f}".format), cells))


@given(rows_of_cells, st.one_of(st.none(), st.integers(60, 120)))
def test_columns_are_aligned_and_one_row_is_below_the_other(rows: list[tuple[str, ...]], width: int | None) -> None:
    lines = table_lines(COLUMNS, rows, width)
    assert all(line.isprintable() for line in lines)
    end = cell_len(lines[0].split("  reason")[0])
    assert lines[0].split() == ["name", "tasks", "paid", "GLM", "reason"]
    firsts = iter(lines[1:])
    for row in rows:  # its first line has the number, which ends where its heading ends
        line = next(line for line in firsts if f" {row[2]}" in line)
        assert cell_len(line[: line.index(f" {row[2]}")]) + 1 + len(row[2]) == end


def test_a_table_too_wide_for_the_terminal_becomes_lists_of_fields() -> None:
    rows = [["bold-fox", "12", "0.123456", "sent other features"], ["calm-owl", "3", "0.000001", ""]]
    assert table_lines(COLUMNS, rows, 24) == [
        "name      bold-fox",
        "tasks     12",
        "paid GLM  0.123456",
        "reason    sent other",
        "          features",
        "",
        "name      calm-owl",
        "tasks     3",
        "paid GLM  0.000001",
    ]


def test_headings_are_folded_before_a_cell_is_cut() -> None:
    columns = (Column("provider", if_narrow="cut end"), Column("first hour GLM", "right"))
    assert table_lines(columns, [["a-provider-with-a-name", "0.1300"]], 32) == [
        "provider                   first",
        "                        hour GLM",
        "a-provider-with-a-name    0.1300",
    ]
    assert table_lines(columns, [["a-provider-with-a-name", "0.1300"]], 22)[-1] == "a-provider-wi…  0.1300"


def test_a_path_loses_its_beginning() -> None:
    lines = table_lines([Column("photo", if_narrow="cut start")], [["holiday/2024/漢字.jpg"]], 12)
    assert lines == ["photo", "…24/漢字.jpg"]


def test_a_row_of_one_text_takes_the_whole_line() -> None:
    lines = table_lines([Column("a"), Column("b")], [["1", "2"], "a remark that is long"], 12)
    assert lines == ["a  b", "1  2", "a remark", "  that is", "  long"]


def test_fields_that_are_shown_one_by_one_are_aligned() -> None:
    assert field_lines([("boot", "12 files")], None, name_width=8) == ["boot      12 files"]
    assert field_lines([("boot", "12 files there")], 18, name_width=8) == ["boot      12 files", "          there"]
