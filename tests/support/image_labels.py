"""Makes the labels of a provider image, as `Dockerfile.provider` sets them."""

from __future__ import annotations

from nima.version import VERSION
from nima.wire.jobs import PROTOCOL
from requestor.image.labels import DEFAULT_PYTHON, PROTOCOL_LABEL, PYTHON_LABEL, VERSION_LABEL


def labels_of_this_version(python: str = DEFAULT_PYTHON) -> dict[str, str]:
    """Returns the labels of an image that is built of this version."""
    return {VERSION_LABEL: VERSION, PROTOCOL_LABEL: str(PROTOCOL), PYTHON_LABEL: python}
