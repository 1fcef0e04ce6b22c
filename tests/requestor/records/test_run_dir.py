from decimal import Decimal
from pathlib import Path

import pytest

from requestor.errors import RunFolderError
from requestor.records.folder import RunFolder
from requestor.records.overview import read_run_record
from requestor.records.round_record import OutcomeEntry, RoundEntry
from requestor.training.rounds.admission import AdmissionHistory

IDENTITY = {"ava": "/photos", "backbone": "mobilenet_v2", "rounds": 3, "seed": 0}


def test_the_same_run_is_opened_again(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", IDENTITY)
    first.write("state.json", {"round": 3})
    first.close()
    assert RunFolder(tmp_path / "run", IDENTITY).read("state.json") == {"round": 3}


def test_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    RunFolder(tmp_path, IDENTITY).close()
    with pytest.raises(RunFolderError, match=r"--seed was 0 and is now 1"):
        RunFolder(tmp_path, {**IDENTITY, "seed": 1})


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all my work")
    with pytest.raises(RunFolderError, match="holds no run"):
        RunFolder(tmp_path, IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_processes_cannot_work_in_one_folder(tmp_path: Path) -> None:
    holder = RunFolder(tmp_path, IDENTITY)
    with pytest.raises(RunFolderError, match="Another process"):
        RunFolder(tmp_path, IDENTITY)
    holder.close()


def test_damage_is_reported_by_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, IDENTITY)
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"state\.json is damaged"):
        folder.read("state.json")


def entry(number: int, *updates: OutcomeEntry, moved: bool = True) -> RoundEntry:
    return RoundEntry(number, moved, updates, 0.25, {"srcc_mean": 0.5, "emd_r1": 0.06, "n": 34}, Decimal("0.01"))


def test_of_a_round_that_was_done_again_the_last_entry_counts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, IDENTITY)
    written = [entry(1), entry(2, moved=False), entry(2)]
    for one in written:
        folder.append_metrics(one)
    assert list(folder.attempts()) == written
    assert folder.metrics() == [written[0], written[2]]


def test_whatever_is_torn_all_whole_rounds_are_kept_and_their_updates_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between any two bytes of the second round's line, after which that round is done again."""
    monkeypatch.setattr("requestor.records.journal.os.fsync", lambda handle: None)  # hundreds of which take seconds
    folder = RunFolder(tmp_path, IDENTITY)
    admitted = [
        OutcomeEntry("admitted", "admitted", job=f"round-{n}", content=f"update {n}", norm=1.0, samples=9, seconds=2.0)
        for n in (1, 2)
    ]
    first, second = (entry(number, update) for number, update in enumerate(admitted, start=1))
    path = tmp_path / "metrics.jsonl"
    folder.append_metrics(first)
    start = path.stat().st_size
    folder.append_metrics(second)
    content = path.read_bytes()
    for size in range(start, len(content) + 1):
        path.write_bytes(content[:size])
        assert list(folder.attempts()) == [first, second][: 1 + (size >= len(content) - 1)]
        folder.append_metrics(second)
        assert folder.metrics() == [first, second]
        assert AdmissionHistory.of(folder.metrics()).contents == {"update 1", "update 2"}
        assert [line.round for line in read_run_record(tmp_path).rounds] == [1, 2], "in the report"


def test_a_damaged_round_before_others_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, IDENTITY)
    folder.append_metrics(entry(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"round": 2{"round": 2, "updates": []}\n')  # as versions left it that did not mend a torn line
    folder.append_metrics(entry(3))
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl, line 2 is damaged"):
        folder.metrics()
