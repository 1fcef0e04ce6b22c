"""The places at which the program keeps files of this user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nima.safe_io.cache import cache_folder, data_folder
from nima.weights.fetching import cached_weights_path
from nima.weights.table import PUBLISHED_WEIGHTS
from requestor.devnet.services.chain import ANVIL
from requestor.devnet.state import devnet_folder
from requestor.training.providers.bans import ban_list

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "NIMA_GOLEM_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@ON_LINUX
@pytest.mark.parametrize("empty", [False, True])
def test_without_variables_they_are_below_the_home_folder(
    home: Path, empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if empty:
        for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "NIMA_GOLEM_CACHE"):
            monkeypatch.setenv(variable, "")
    assert cache_folder() == home / ".cache" / "nima-golem"
    assert data_folder() == home / ".local" / "share" / "nima-golem"


@ON_LINUX
@pytest.mark.usefixtures("home")
def test_xdg_variables_move_all_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, data = tmp_path / "cache", tmp_path / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    assert cache_folder() == cache / "nima-golem"
    assert ANVIL.path.is_relative_to(cache / "nima-golem" / "npm")
    assert cached_weights_path(PUBLISHED_WEIGHTS["mobilenet_v2-imagenet"]) is None
    assert ban_list().path == data / "nima-golem" / "banned-providers.json"
    assert devnet_folder("one") == data / "nima-golem" / "devnets" / "one"


@pytest.mark.usefixtures("home")
def test_a_cache_that_is_named_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"


def test_the_providers_program_needs_no_such_folders() -> None:
    """Its image has no platformdirs: the program starts where the module that imports it cannot be imported."""
    program = (
        "import sys; sys.modules['nima.safe_io.cache'] = None; import provider_image.__main__, provider_image.work"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
