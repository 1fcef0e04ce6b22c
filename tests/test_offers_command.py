"""`nima-golem offers` on a devnet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from requestor.devnet.state import Devnet

pytestmark = pytest.mark.golem


def offers(devnet: Devnet, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "requestor.cli", "offers", "--seconds", "4", *arguments]
    return subprocess.run(program, env=os.environ | devnet.environment(), capture_output=True, text=True, timeout=60)


def test_every_provider_is_listed_with_its_price_the_cheapest_first(devnet: Devnet) -> None:
    rows = [json.loads(line) for line in offers(devnet, "--json").stdout.splitlines()]
    assert {row["provider_id"] for row in rows} == {node.node_id for node in devnet.providers}
    first_hours = [Decimal(row["first_hour_glm"]) for row in rows]
    assert first_hours == sorted(first_hours)
    for row, first_hour in zip(rows, first_hours, strict=True):
        by_hand = Decimal(row["start_glm"]) + Decimal(row["hour_glm"]) + row["threads"] * Decimal(row["cpu_hour_glm"])
        assert abs(first_hour - by_hand) < Decimal("1e-12")


def test_an_empty_subnet_is_said_to_be_one(devnet: Devnet) -> None:
    done = offers(devnet, "--subnet", "nobody-is-here")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "Nobody offers anything" in done.stderr
