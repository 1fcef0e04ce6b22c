"""idealo's model on PyTorch gives the probabilities that it gave on Keras."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import io

from nima.model import checkpoint
from nima.model.mobilenet_v1 import MobileNetV1
from nima.model.network import Nima
from nima.scoring.scorer import Scorer
from nima.weights.idealo import backbone_of_keras, checkpoint_of_keras
from nima.weights.keras import KerasWeightsError, read_keras_nima

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
KERAS = DATA / "nima" / "weights_mobilenet_aesthetic_0.07.hdf5"
needs_weights = pytest.mark.skipif(not KERAS.exists(), reason="needs idealo's weights")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "idealo.safetensors"
    path.write_bytes(checkpoint_of_keras(KERAS))
    return path


@needs_weights
def test_ten_probabilities_equal_the_published_ones_on_real_photos(converted: Path) -> None:
    published = io.loadmat(DATA / "nima" / "idealo_predictions_on_ava_test.mat")
    row = {int(image_id): row for row, image_id in enumerate(published["labels"][:, 0])}
    image_ids = (42040, 953019, 954228)
    scores = Scorer(converted, device="cpu").score(
        DATA / "ava" / "photos" / f"{image_id}.jpg" for image_id in image_ids
    )
    for image_id, score in zip(image_ids, scores, strict=True):
        expected = published["predictions"].reshape(-1, 10)[row[image_id]]
        assert score.probabilities == pytest.approx(expected.tolist(), abs=1e-5)


@needs_weights
def test_the_conversion_gives_equal_bytes_and_says_what_they_are(converted: Path) -> None:
    assert checkpoint_of_keras(KERAS) == converted.read_bytes()
    metadata = checkpoint.read_metadata(converted)
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["split"]["name"] == "idealo"


@needs_weights
def test_its_backbone_starts_a_training(tmp_path: Path, converted: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    path.write_bytes(backbone_of_keras(KERAS))
    started, whole = Nima("mobilenet_v1", path), checkpoint.load(converted)[0]
    for name, tensor in whole.state_dict().items():
        if name.startswith("blocks."):
            assert torch.equal(started.state_dict()[name], tensor)


def test_the_network_has_the_size_of_the_paper() -> None:
    network = MobileNetV1().eval()
    # The paper's 4.2 million, minus its classifier of 1024 × 1000 weights and 1000 biases.
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_231_976 - 1_025_000
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 1024, 7, 7)


def test_stride_two_pads_at_the_end_only() -> None:
    network = MobileNetV1().eval()
    corner = torch.zeros(1, 3, 32, 32)
    corner[..., 0, 0] = 1
    with torch.inference_mode():
        touched = network.features[0][1](network.features[0][0](corner)).abs().sum(dim=1)[0] > 0
    # TensorFlow's first window begins on the first pixel, so that no other window sees it.
    assert touched.nonzero().tolist() == [[0, 0]]


def broken(folder: Path, change: str) -> Path:
    """Makes a copy of the weights with one defect."""
    path = folder / "broken.hdf5"
    path.write_bytes(KERAS.read_bytes())
    with h5py.File(path, "r+") as file:
        kernel = "conv_pw_7/conv_pw_7/kernel:0"
        if change == "missing":
            del file[kernel]
        elif change == "shape":
            del file[kernel]
            file[kernel] = np.zeros((1, 1, 512, 511), np.float32)
        elif change == "order":
            del file[kernel]
            file[kernel] = np.zeros((512, 512, 1, 1), np.float32)
        elif change == "type":
            del file[kernel]
            file[kernel] = np.zeros((1, 1, 512, 512), np.float64)
        elif change == "huge":
            del file[kernel]
            file.create_dataset(kernel, shape=(10**6, 10**6, 1, 1), dtype=np.float32, chunks=(1000, 1000, 1, 1))
        elif change == "nan":
            file[kernel][0, 0, 0, 0] = np.nan
        elif change == "elsewhere":
            del file[kernel]
            file[kernel] = h5py.ExternalLink(str(KERAS), kernel)
        elif change == "group":
            del file[kernel]
            file.create_group(kernel)
    return path


@needs_weights
@pytest.mark.parametrize("change", ["missing", "shape", "order", "type", "huge", "nan", "elsewhere", "group"])
def test_weights_that_are_not_quite_right_are_refused(change: str, tmp_path: Path) -> None:
    path = broken(tmp_path, change)
    with pytest.raises(KerasWeightsError, match=r"broken\.hdf5 is not NIMA .*'conv_pw_7'"):
        read_keras_nima(path)


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + b"\0" * 600])
def test_what_is_no_hdf5_is_one_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.hdf5"
    path.write_bytes(content)
    with pytest.raises(KerasWeightsError, match=r"weights\.hdf5"):
        read_keras_nima(path)
    with pytest.raises(KerasWeightsError, match="cannot be read"):
        read_keras_nima(tmp_path / "missing.hdf5")
