"""Asks a devnet's daemon for the allocations of its requestor."""

from __future__ import annotations

import json
import urllib.request

from requestor.devnet.state import Devnet


def open_allocations(devnet: Devnet) -> list[dict]:
    """Returns the allocations of the devnet's requestor that are not released."""
    request = urllib.request.Request(
        f"{devnet.requestor.api_url}/payment-api/v1/allocations",
        headers={"Authorization": f"Bearer {devnet.requestor.app_key}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        allocations: list[dict] = json.load(response)
    return allocations
