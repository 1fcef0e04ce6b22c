"""Training on a devnet with half of the providers hostile: it ends with a model, and pays nothing that is not owed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from allocations import open_allocations
from ava_folder import make_ava_folder

from requestor.devnet.network import NetworkOptions
from requestor.devnet.provider.rest import ProviderRest
from requestor.devnet.settlement import ProviderAccount, requestor_wallet, settle_bills
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.records.ledger import Ledger
from requestor.training.providers.bans import ban_list

pytestmark = [pytest.mark.golem, pytest.mark.usefixtures("chain_programs")]

FAULTS = ["garbage", "zero", "overcharge"]


@dataclass(frozen=True)
class Trained:
    """A run that ended by itself.

    paid: GLM that left the wallet; accounts: by fault, empty for honest ones; states: of their invoices, by name.
    """

    folder: Path
    summary: dict[str, Any]
    paid: Decimal
    accounts: dict[str, list[ProviderAccount]]
    states: dict[str, set[str]]

    def updates(self, fault: str) -> list[dict[str, Any]]:
        """Returns the entries of the updates that providers with this fault sent."""
        names = {account.name for account in self.accounts[fault]}
        rounds = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return [update for line in rounds for update in line["updates"] if update["provider"] in names]


@pytest.fixture(scope="module")
def trained(devnets_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("faults")
    ava, run = make_ava_folder(folder / "ava", images=96, tested=16), folder / "run"
    devnet = start_devnet(NetworkOptions("hostile", providers=6, faults=",".join(FAULTS)))
    try:
        before = asyncio.run(requestor_wallet(devnet))
        options = ["--budget", "2GLM", "--strategy", "federate", "--rounds", "2", "--workers", "6", "--json"]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "requestor.commands.main",
                "train",
                "--ava",
                str(ava),
                "--run-dir",
                str(run),
                *options,
            ],
            env={**os.environ, **devnet.environment()},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr
        assert open_allocations(devnet) == []
        accounts = asyncio.run(settle_bills(devnet, 60))
        by_fault = {fault: [one for one in accounts if one.fault == fault] for fault in ("", *FAULTS)}
        paid = before - asyncio.run(requestor_wallet(devnet))
        yield Trained(run, json.loads(done.stdout), paid, by_fault, asyncio.run(invoice_states(devnet)))
    finally:
        stop_devnet(devnet)


async def invoice_states(devnet: Devnet) -> dict[str, set[str]]:
    """Returns the states of all invoices, as the providers' own daemons know them: name → states."""
    states = {}
    for node in devnet.providers:
        async with ProviderRest(node.api_url, node.app_key) as rest:
            states[node.name] = {invoice["status"] for invoice in await rest.invoices()}
    return states


def test_both_rounds_moved_the_model(trained: Trained) -> None:
    assert trained.summary["rounds"] == 2
    assert trained.summary["metrics"]["srcc"] > 0.8
    assert trained.summary["metrics"]["n"] == 16


def test_garbage_and_zeros_are_refused_for_what_they_are(trained: Trained) -> None:
    (zero,) = trained.updates("zero")  # after that, this run does not ask it again
    assert (zero["kind"], zero["verdict"]) == ("no work", "the update is zero")
    (liar,) = trained.accounts["zero"]
    assert ban_list().read()[zero["provider_id"]].name == liar.name  # and no later run asks it either
    garbage = trained.updates("garbage")
    assert garbage
    for update in garbage:
        assert update["kind"] == "malformed"
        assert "it is no safetensors file" in update["verdict"]
    honest = [update["kind"] for update in trained.updates("")]
    assert set(honest) <= {"admitted", "harmful", "outlier"}  # an honest update may be either by chance
    assert honest.count("admitted") > len(honest) / 2


@pytest.mark.parametrize("fault", FAULTS)
def test_who_sends_junk_or_overcharges_is_not_paid_and_is_told_so(fault: str, trained: Trained) -> None:
    (account,) = trained.accounts[fault]
    assert account.invoiced > 0
    assert account.accepted == account.paid == account.wallet == 0
    assert trained.states[account.name] == {"REJECTED"}


def test_who_is_honest_is_paid_in_full(trained: Trained) -> None:
    assert all(account.paid == account.invoiced > 0 for account in trained.accounts[""])


def test_what_left_the_wallet_is_what_the_ledger_says(trained: Trained) -> None:
    receipt = json.loads((trained.folder / "receipt.json").read_text())
    received = [one.wallet for accounts in trained.accounts.values() for one in accounts]
    ledger = Ledger(trained.folder / "ledger.jsonl").spent()
    assert 0 < trained.paid == ledger == Decimal(receipt["spent_glm"]) == sum(received, Decimal(0)) <= 2
