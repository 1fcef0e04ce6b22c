"""`nima-golem offers` on a devnet, and the estimate that uses the offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from ava_folder import make_ava_folder

from requestor.devnet.state import Devnet
from requestor.money.amounts import Price

pytestmark = pytest.mark.golem


def offers(devnet: Devnet, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "requestor.commands.main", "offers", "--seconds", "4", *arguments]
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
    assert "No provider offers anything" in done.stderr


def test_an_estimate_is_made_at_the_prices_that_are_asked(devnet: Devnet, tmp_path: Path) -> None:
    ava = make_ava_folder(tmp_path / "ava")
    rows = [json.loads(line) for line in offers(devnet, "--json").stdout.splitlines()]
    command = [
        sys.executable,
        "-m",
        "requestor.commands.main",
        "train",
        "--ava",
        str(ava),
        "--budget",
        "2GLM",
        "--estimate",
    ]
    done = subprocess.run(
        [*command, "--workers", "2", "--json"],
        env=os.environ | devnet.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assumptions = json.loads(done.stdout)["assumptions"]
    assert assumptions["priced_by"] == f"the 2 cheapest of 3 offers in subnet {devnet.subnet} now"
    per_second = sum((Decimal(row["cpu_hour_glm"]) for row in rows[:2]), Decimal(0)) / 2 / 3600
    assert abs(Price.from_text(assumptions["price"]).cpu_second - per_second) < Decimal("1e-15")
