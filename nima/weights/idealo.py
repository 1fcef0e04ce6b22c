"""Makes the default model: NIMA on MobileNet v1, trained on AVA by idealo, as a checkpoint of this program.

Source: Lennan, Nguyen and Tran, "Image Quality Assessment", https://github.com/idealo/image-quality-assessment,
Apache-2.0.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save

from nima.model import Nima, checkpoint, find_backbone
from nima.weights.keras import read_keras_nima

METADATA = {
    "name": "mobilenet_v1-ava",
    "source": "https://github.com/idealo/image-quality-assessment",
    "licence": "Apache-2.0",
    "data": "AVA, about 230,000 of its photos",
    "split": {"name": "idealo", "hash": "d0673ad1d7fe121d23ed2f879f5be5e3fe1766927d7b3a18bffa22b15373ca9d"},
}


def checkpoint_of_keras(path: Path) -> bytes:
    """Converts idealo's HDF5 file to the content of a checkpoint; raises `KerasWeightsError` if it is another file."""
    network, dense = read_keras_nima(path)
    # It was trained on whole photos at 224 × 224 pixels, not on the central crop of a stored JPEG.
    model = Nima("mobilenet_v1", preparation=find_backbone("mobilenet_v1").preparation.with_part("whole"))
    model.blocks.load_state_dict({name.removeprefix("features."): tensor for name, tensor in network.items()})
    model.head.load_state_dict(dense)
    return checkpoint.encode(model, METADATA)


def backbone_of_keras(path: Path) -> bytes:
    """Converts the same file to safetensors of the network without its head, to start a training from.

    Raises `KerasWeightsError` if it is another file.
    """
    network, _ = read_keras_nima(path)
    return save({name: tensor.contiguous() for name, tensor in network.items()})
