import json
from pathlib import Path

import pytest

from requestor.errors import RunFolderError
from requestor.run_dir import RunFolder

IDENTITY = {"ava": "/photos", "backbone": "mobilenet_v2", "seed": 0}


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


def test_of_a_round_that_was_done_again_the_last_entry_counts(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, IDENTITY)
    for number, loss in ((1, 0.3), (2, 0.2), (2, 0.1)):
        folder.append_metrics({"round": number, "loss": loss})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"round": 3})[:5])
    assert folder.metrics() == [{"round": 1, "loss": 0.3}, {"round": 2, "loss": 0.1}]
