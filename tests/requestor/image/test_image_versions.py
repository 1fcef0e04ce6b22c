"""An image of another version is refused with one error, by its labels, before anything is sent to Golem."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from image_labels import labels_of_this_version
from superblock import squashfs

from nima.version import VERSION
from nima.wire.jobs import PROTOCOL
from requestor.devnet.services.image_host import ImageHost
from requestor.devnet.services.ports import Ports
from requestor.errors import ConfigurationError, ImageMismatch, RequestorError
from requestor.image.chosen import ChosenImage, choose_image
from requestor.image.gvmi import read_image, write_image
from requestor.image.labels import PROTOCOL_LABEL, PYTHON_LABEL, VERSION_LABEL

URL = "https://example.org/provider.gvmi"


def environment(folder: Path, labels: dict[str, str]) -> dict[str, str]:
    """Returns the variables that name an image with these labels."""
    (folder / "root.squashfs").write_bytes(squashfs())
    info = write_image(folder / "root.squashfs", {"Labels": labels}, folder / "provider.gvmi")
    return {"NIMA_GOLEM_IMAGE": f"hash:sha3:{info.sha3_224}:{URL}", "NIMA_GOLEM_IMAGE_FILE": str(info.path)}


def test_an_image_of_this_version_is_taken(tmp_path: Path) -> None:
    variables = environment(tmp_path, labels_of_this_version("/opt/python"))
    chosen = choose_image(variables)
    assert (chosen.url, chosen.python, chosen.package) == (URL, "/opt/python", variables["NIMA_GOLEM_IMAGE"])
    assert chosen.info is not None
    assert chosen.digest == chosen.info.sha3_224
    assert choose_image(variables | {"NIMA_GOLEM_PYTHON": "/usr/bin/python3"}).python == "/usr/bin/python3"


def test_an_image_that_cannot_be_looked_at_is_taken_unseen() -> None:
    url = "http://127.0.0.1:1/provider.gvmi"
    chosen = choose_image({"NIMA_GOLEM_IMAGE": f"hash:sha3:{56 * 'a'}:{url}", "NIMA_GOLEM_IMAGE_FILE": ""})
    assert (chosen.info, chosen.labels, chosen.python) == (None, None, "/usr/local/bin/python3")


def choose_by_url(folder: Path, labels: dict[str, str]) -> ChosenImage:
    """Chooses the image as a requestor does who has its name but not its file."""
    file = Path(environment(folder, labels)["NIMA_GOLEM_IMAGE_FILE"])

    async def choose() -> ChosenImage:
        with Ports() as ports:
            host = ImageHost(ports.take(), read_image(file))
            await host.start()
            try:
                return await asyncio.to_thread(choose_image, {"NIMA_GOLEM_IMAGE": f"hash:sha3:{host.sha3}:{host.url}"})
            finally:
                await host.stop()

    return asyncio.run(choose())


def test_an_image_that_is_elsewhere_is_known_by_its_end(tmp_path: Path) -> None:
    labels = labels_of_this_version("/opt/python")
    chosen = choose_by_url(tmp_path, labels)
    assert (chosen.info, chosen.labels, chosen.python) == (None, labels, "/opt/python")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({**labels_of_this_version(), VERSION_LABEL: "0.0.1"}, r"^http://127.0.0.1:\d+/provider.gvmi holds .* 0.0.1 "),
        ({}, "is no provider image of this program"),
    ],
)
def test_an_image_of_another_version_that_is_elsewhere_is_refused(
    tmp_path: Path, labels: dict[str, str], message: str
) -> None:
    with pytest.raises(ImageMismatch, match=message):
        choose_by_url(tmp_path, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({VERSION_LABEL: "0.0.1"}, f"holds nima-golem 0.0.1 (protocol {PROTOCOL}), and this is nima-golem {VERSION}"),
        ({PROTOCOL_LABEL: "1"}, f"holds nima-golem {VERSION} (protocol 1), and this is nima-golem"),
        ({PROTOCOL_LABEL: None}, "is no provider image of this program"),
    ],
)
def test_an_image_of_another_version_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    labels = {name: value for name, value in (labels_of_this_version() | change).items() if value is not None}
    assert PYTHON_LABEL in labels
    with pytest.raises(ImageMismatch) as raised:
        choose_image(environment(tmp_path, labels))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"NIMA_GOLEM_IMAGE": ""}, "NIMA_GOLEM_IMAGE is not set"),
        ({"NIMA_GOLEM_IMAGE": "ubuntu:latest"}, "NIMA_GOLEM_IMAGE is 'ubuntu:latest'"),
        ({"NIMA_GOLEM_IMAGE": f"hash:sha3:{56 * '0'}:{URL}"}, "is not the image that NIMA_GOLEM_IMAGE names"),
        ({"NIMA_GOLEM_IMAGE_FILE": "/nowhere.gvmi"}, "/nowhere.gvmi could not be read"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(RequestorError) as raised:
        choose_image(environment(tmp_path, labels_of_this_version()) | change)
    assert message in str(raised.value)
    assert isinstance(raised.value, ConfigurationError) == ("nowhere" not in message)
