"""Models of other programs give the same probabilities here. The networks are built as those programs build them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
from torch import Tensor, nn

from nima.model import checkpoint, find_backbone
from nima.model.backbones import _torchvision
from nima.weights.fetching import WeightsError, find_model, import_model
from nima.weights.other_programs import OtherProgramError, checkpoint_of_other_program
from nima.weights.users_models import own_models

MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class OtherProgram(nn.Module):
    """A network of another program: pixels `[B, 3, H, W]` in 0..1 → probabilities `[B, 10]`."""

    def __init__(self, parts: dict[str, nn.Module], forward: Callable[[OtherProgram, Tensor], Tensor]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.compute = forward
        for name, parameter in self.named_parameters():  # activations of scale 1, and answers that differ
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.compute(self, pixels)


def dense(features: int, *before: nn.Module) -> nn.Sequential:
    return nn.Sequential(*before, nn.Linear(features, 10), nn.Softmax(dim=1))


def pyiqa() -> OtherProgram:
    """IQA-PyTorch's NIMA: timm's VGG16 with joined names, global pooling, ImageNet's normalisation."""
    base = nn.Module()
    for index, layer in enumerate(_torchvision().vgg16(init_weights=False).features):
        base.add_module(f"features_{index}", layer)

    def forward(self: OtherProgram, pixels: Tensor) -> Tensor:
        maps = (pixels - MEAN) / STD
        for layer in self.base_model.children():
            maps = layer(maps)
        return self.classifier(maps.mean(dim=(2, 3)))

    return OtherProgram({"base_model": base, "classifier": dense(512, nn.Flatten(), nn.Dropout(0.0))}, forward)


def neural_image_assessment() -> OtherProgram:
    """yunxiaoshi's NIMA: torchvision's VGG16, one dense layer on the flattened maps, pixels as they are."""

    def forward(self: OtherProgram, pixels: Tensor) -> Tensor:
        return self.classifier(self.features(pixels).flatten(1))

    features = _torchvision().vgg16(init_weights=False).features
    return OtherProgram({"features": features, "classifier": dense(25_088, nn.Dropout(0.75))}, forward)


def nima_pytorch(backbone: str = "resnet18") -> OtherProgram:
    """truskovskiyk's NIMA: torchvision's ResNet as a sequence, a ReLU before the dense layer."""

    def forward(self: OtherProgram, pixels: Tensor) -> Tensor:
        return self.head(self.base_model((pixels - MEAN) / STD).flatten(1))

    network = getattr(_torchvision(), backbone)()
    base = nn.Sequential(*list(network.children())[:-1])
    return OtherProgram({"base_model": base, "head": dense(512, nn.ReLU(), nn.Dropout(0.75))}, forward)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def users_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("program", "backbone", "wrapped"),
    [
        (pyiqa, "vgg16", lambda state: {"params": state}),
        (neural_image_assessment, "vgg16_maps", lambda state: state),
        (nima_pytorch, "resnet18", lambda state: {"state_dict": {f"module.{name}": v for name, v in state.items()}}),
    ],
)
def test_an_imported_model_gives_the_probabilities_of_its_program(
    program: Callable[[], OtherProgram], backbone: str, wrapped: Callable[[dict[str, Tensor]], object], tmp_path: Path
) -> None:
    other = program().eval()
    torch.save(wrapped(other.state_dict()), tmp_path / "other.pth")
    model, metadata = checkpoint.load(import_model("other", tmp_path / "other.pth"))
    assert (model.backbone, metadata["name"]) == (backbone, "other")
    pixels = torch.rand(2, 3, 224, 224) * torch.tensor([0.3, 1.0]).view(2, 1, 1, 1)
    with torch.inference_mode():
        expected, found = other(pixels), model(pixels).softmax(dim=1)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # the photos differ, and so do the answers
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def keras_file(path: Path, dense_layer: str, group: str = "") -> dict[str, Tensor]:
    """Writes MobileNet v1 with a head as Keras does; returns the head."""
    network = find_backbone("mobilenet_v1").construct()
    modules = dict(network.named_modules())
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    head = {"kernel": torch.rand(1024, 10), "bias": torch.rand(10)}
    names = ["conv1", *(f"conv_{kind}_{i}" for i in range(1, 14) for kind in ("dw", "pw"))]
    with h5py.File(path, "w") as file:
        for layer, name in zip(names, convolutions, strict=True):
            kernel = modules[name].weight.detach()
            deep = "_dw_" in layer
            moved = kernel.permute(2, 3, 0, 1) if deep else kernel.permute(2, 3, 1, 0)
            file[f"{group}{layer}/{layer}/{'depthwise_kernel' if deep else 'kernel'}:0"] = moved.numpy()
            prefix, index = name.rsplit(".", 1)
            norm = modules[f"{prefix}.{int(index) + 1}"]
            names_of_norm = {
                "weight": "gamma",
                "bias": "beta",
                "running_mean": "moving_mean",
                "running_var": "moving_variance",
            }
            for ours, theirs in names_of_norm.items():
                file[f"{group}{layer}_bn/{layer}_bn/{theirs}:0"] = getattr(norm, ours).detach().numpy()
        for name, values in head.items():
            file[f"{group}{dense_layer}/{dense_layer}/{name}:0"] = values.numpy()
    return head


@pytest.mark.parametrize(("layer", "group"), [("dense_1", ""), ("dense", ""), ("dense_12", "model_weights/")])
def test_a_model_of_keras_is_read_whatever_its_dense_layer_is_called(layer: str, group: str, tmp_path: Path) -> None:
    head = keras_file(tmp_path / "model.h5", layer, group)
    model, metadata = checkpoint.load(import_model("technical", tmp_path / "model.h5"))
    assert (model.backbone, metadata["preparation"]) == ("mobilenet_v1", "whole")
    torch.testing.assert_close(model.head.weight.detach(), head["kernel"].T)
    assert own_models()["technical"] == find_model("technical")


def test_a_model_of_another_size_is_not_taken_for_its_smaller_brother(tmp_path: Path) -> None:
    torch.save(nima_pytorch("resnet34").state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(OtherProgramError, match=r"is no resnet18: it has a tensor 'layer1\.2"):
        checkpoint_of_other_program(tmp_path / "resnet34.pth", "other")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"base_model.conv2d_1a.conv.weight": torch.zeros(1)}, "Inception-ResNet v2"),
        ({"weight": torch.zeros(1)}, "that this one knows: pyiqa"),
        ({"classifier.2.weight": torch.zeros(3, 512), "classifier.2.bias": torch.zeros(3)}, "that this one knows"),
        ({"weight": print}, "not a file of weights alone"),
        ([torch.zeros(1)], "does not hold a state"),
    ],
)
def test_other_files_are_refused_in_a_sentence(state: object, said: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=said):
        import_model("other", tmp_path / "other.pth")
    assert own_models() == {}


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = nima_pytorch().state_dict()
    state["head.2.bias"][3] = float("nan")
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not finite"):
        import_model("other", tmp_path / "other.pth")


def test_a_name_is_taken_once_and_never_leaves_the_folder(tmp_path: Path) -> None:
    keras_file(tmp_path / "model.h5", "dense_1")
    for name in ("../model", "taste", "Model", ""):
        with pytest.raises(WeightsError, match="cannot be called"):
            import_model(name, tmp_path / "model.h5")
    kept = import_model("mine", tmp_path / "model.h5")
    shutil.copy(kept, tmp_path / "before")
    with pytest.raises(WeightsError, match="There is a model mine already"):
        import_model("mine", tmp_path / "model.h5")
    assert import_model("mine", tmp_path / "model.h5", overwrite=True).read_bytes() == kept.read_bytes()
