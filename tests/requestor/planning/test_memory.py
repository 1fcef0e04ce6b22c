"""Work for which a provider's VM has no room is refused before anything is spent."""

from __future__ import annotations

from pathlib import Path

import pytest
from train_options import train_options

from requestor.errors import ConfigurationError
from requestor.planning import memory
from requestor.planning.memory import JOB_MEMORY, VM_ROOM_MB, JobMemory, check_memory
from requestor.training.config import RunConfig


@pytest.fixture
def heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds backbones of which more and more does not fit."""
    fits, not_so = VM_ROOM_MB, VM_ROOM_MB + 1
    monkeypatch.setitem(memory.JOB_MEMORY, "whole-is-too-much", JobMemory(fits, fits, not_so))
    monkeypatch.setitem(memory.JOB_MEMORY, "blocks-are-too-much", JobMemory(fits, not_so, not_so))
    monkeypatch.setitem(memory.JOB_MEMORY, "all-is-too-much", JobMemory(not_so, not_so, not_so))


@pytest.mark.parametrize("blocks", [0, 3])
def test_the_default_backbone_fits(blocks: int) -> None:
    assert JOB_MEMORY["mobilenet_v2"].last > 100
    check_memory("mobilenet_v2", blocks)


def test_a_backbone_that_nobody_measured_is_not_refused() -> None:
    check_memory("another", -1)


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize(
    ("backbone", "blocks", "advice"),
    [
        ("whole-is-too-much", -1, "--blocks 3"),
        ("whole-is-too-much", 4, "--blocks 3"),
        ("blocks-are-too-much", 3, "--strategy embed"),
        ("blocks-are-too-much", -1, "--strategy embed"),
        ("all-is-too-much", 0, "a smaller --backbone"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_figure_and_the_way_out(backbone: str, blocks: int, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{backbone} needs 1421 MB.*{advice}.*--backend local"):
        check_memory(backbone, blocks)


@pytest.mark.usefixtures("heavy")
@pytest.mark.parametrize(("backbone", "blocks"), [("whole-is-too-much", 3), ("blocks-are-too-much", 0)])
def test_what_fits_is_not_refused(backbone: str, blocks: int) -> None:
    check_memory(backbone, blocks)


@pytest.mark.usefixtures("heavy")
def test_a_run_is_refused_on_golem_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "AVA.txt").touch()
    chosen = {"backbone": "all-is-too-much", "network": "holesky", "subnet": "public"}
    RunConfig.of(train_options(tmp_path, **chosen), {})
    with pytest.raises(ConfigurationError, match="all-is-too-much needs"):
        RunConfig.of(train_options(tmp_path, backend="golem", **chosen), {})
