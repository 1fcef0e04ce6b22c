"""Asks a devnet's daemon what its requestor has open."""

from __future__ import annotations

import json
import urllib.request

from golem_requestor import Requestor

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


async def left_open(devnet: Devnet) -> dict[str, int]:
    """Returns the numbers of allocations, demands and agreements that a devnet's requestor has open."""
    async with Requestor.on(devnet) as requestor:
        agreements = await requestor.call("GET", "/market-api/v1/agreements", state="Approved")
        return {
            "allocations": len(await requestor.call("GET", "/payment-api/v1/allocations")) - 1,  # one is its own
            "demands": len(await requestor.call("GET", "/market-api/v1/demands")),
            "agreements": len(agreements),
        }


NOTHING = {"allocations": 0, "demands": 0, "agreements": 0}
