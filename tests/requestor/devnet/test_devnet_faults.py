"""Faults that a requestor notices: providers that die, leave, never sign, send too much, or bill too much."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from golem_requestor import ACTIVITY, MARKET, Refused, Requestor

from requestor.devnet.network import NetworkOptions
from requestor.devnet.provider.pricing import LinearPricing
from requestor.devnet.state import Devnet, NodeState
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.golem.gftp.server import FileServer

pytestmark = pytest.mark.golem

FAULTS = ["crash", "drop", "refuse", "oversized", "overcharge"]
PREPARE = [{"deploy": {}}, {"start": {"args": []}}]
PRICES = "golem.com.pricing.model.linear.coeffs"


def sh(script: str) -> dict[str, Any]:
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script]}}


@pytest.fixture(scope="module")
def faulty(devnets_home: Path) -> Iterator[Devnet]:
    running = start_devnet(NetworkOptions("faulty", providers=6, faults=",".join(FAULTS)))
    yield running
    stop_devnet(running)


def provider(devnet: Devnet, fault: str) -> NodeState:
    return next(node for node in devnet.providers if node.fault == fault)


async def draft(requestor: Requestor, node: NodeState) -> dict[str, Any]:
    """Returns the proposal of one provider, from which an agreement can be made."""
    demand = await requestor.demand()
    while (offer := (await requestor.event(demand))["proposal"])["issuerId"] != node.node_id:
        pass
    await requestor.counter(demand, offer)
    while True:
        proposal = (await requestor.event(demand))["proposal"]
        if proposal["issuerId"] == node.node_id and proposal["state"] == "Draft":
            return dict(proposal)


async def activity_on(requestor: Requestor, node: NodeState) -> tuple[str, str]:
    """Makes an agreement with the provider, and an activity that is ready to run programs."""
    agreement, answer = await requestor.propose(await draft(requestor, node))
    assert answer == "Approved"
    activity = await requestor.create_activity(agreement)
    assert [result["result"] for result in await requestor.run(activity, json.dumps(PREPARE))] == ["Ok", "Ok"]
    return agreement, activity


def stopped(devnet: Devnet, node: NodeState) -> bool:
    """Waits some seconds for the end of the provider's agent; returns whether it has ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if status(devnet)[node.name]["state"] == "stopped":
            return True
        time.sleep(0.2)
    return False


def nima_golem(*arguments: str) -> str:
    script = "from requestor.commands.main import main; main()"
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def status(devnet: Devnet) -> dict[str, dict[str, Any]]:
    answer = json.loads(nima_golem("devnet", "status", "--name", devnet.name, "--json"))
    return {account["name"]: account for account in answer["providers"]}


def test_the_status_says_who_has_which_fault(faulty: Devnet):
    assert [account["fault"] for account in status(faulty).values()] == ["", *FAULTS]
    table = nima_golem("devnet", "status", "--name", faulty.name).splitlines()
    assert [line.split()[-1] for line in table[-5:]] == FAULTS


def test_crash_dies_during_its_task_and_sends_no_bill(faulty: Devnet):
    async def use() -> None:
        async with Requestor.on(faulty) as requestor:
            agreement, activity = await activity_on(requestor, provider(faulty, "crash"))
            with pytest.raises(Refused):
                await asyncio.wait_for(requestor.run(activity, json.dumps([sh("sleep 30")])), 20)
            with suppress(Refused):
                await requestor.terminate(agreement)
            with pytest.raises(TimeoutError):
                await requestor.invoice(agreement, timeout=1)

    asyncio.run(use())
    assert stopped(faulty, provider(faulty, "crash"))


def test_drop_does_one_task_and_is_gone_at_the_second(faulty: Devnet):
    async def use() -> None:
        async with Requestor.on(faulty) as requestor:
            _, activity = await activity_on(requestor, provider(faulty, "drop"))
            (first,) = await requestor.run(activity, json.dumps([sh("echo done")]))
            assert first["result"] == "Ok"
            with pytest.raises(Refused):
                await asyncio.wait_for(requestor.run(activity, json.dumps([sh("echo again")])), 20)

    asyncio.run(use())
    assert stopped(faulty, provider(faulty, "drop"))


def test_refuse_leaves_agreements_unanswered(faulty: Devnet):
    async def use() -> None:
        async with Requestor.on(faulty) as requestor:
            proposal = await draft(requestor, provider(faulty, "refuse"))
            agreement = await requestor.call(
                "POST",
                f"{MARKET}/agreements",
                {"proposalId": proposal["proposalId"], "validTo": "2100-01-01T00:00:00Z"},
            )
            await requestor.call("POST", f"{MARKET}/agreements/{agreement}/confirm")
            assert await requestor.call("POST", f"{MARKET}/agreements/{agreement}/wait", timeout=2) == []
            assert (await requestor.call("GET", f"{MARKET}/agreements/{agreement}"))["state"] == "Pending"

    asyncio.run(use())


def test_oversized_takes_no_disk_and_ends_at_the_receivers_cap(faulty: Devnet, tmp_path: Path):
    node = provider(faulty, "oversized")

    async def use() -> dict[str, Any]:
        async with (
            Requestor.on(faulty) as requestor,
            FileServer(faulty.requestor.gsb_url, max_bytes=10**6) as server,
        ):
            _, activity = await activity_on(requestor, node)
            url = await server.receive(tmp_path / "received" / "file")
            transfer = {"transfer": {"from": "container:/golem/output/file", "to": url}}
            ran, sent = await requestor.run(activity, json.dumps([sh("echo small > /golem/output/file"), transfer]))
            assert ran["result"] == "Ok"
            files = [path.lstat() for path in Path(faulty.folder, "agents", node.name).rglob("*") if path.is_file()]
            assert max(about.st_size for about in files) == 2 * 2**30
            assert sum(512 * about.st_blocks for about in files) < 10**6
            assert sum(512 * path.stat().st_blocks for path in (tmp_path / "received").iterdir()) <= 2 * 10**6
            await requestor.destroy_activity(activity)
            return sent

    sent = asyncio.run(use())
    assert sent["result"] == "Error"
    assert "more than the 1000000 bytes that are allowed" in sent["message"]
    assert list((tmp_path / "received").iterdir()) == []


def test_overcharge_asks_for_a_hundred_times_the_price(faulty: Devnet):
    async def use() -> None:
        async with Requestor.on(faulty) as requestor:
            agreement, activity = await activity_on(requestor, provider(faulty, "overcharge"))
            await requestor.destroy_activity(activity)
            await requestor.terminate(agreement)
            invoice = await requestor.invoice(agreement)
            note = (await requestor.debit_notes(agreement))[-1]
            offer = (await requestor.call("GET", f"{MARKET}/agreements/{agreement}"))["offer"]["properties"]
            due = LinearPricing(tuple(offer[PRICES])).cost(note["usageCounterVector"])
            assert due > 0
            assert Decimal(invoice["amount"]) == Decimal(note["totalAmountDue"]) == 100 * due

    asyncio.run(use())


def test_the_others_are_honest(faulty: Devnet):
    async def use() -> None:
        async with Requestor.on(faulty) as requestor:
            _, activity = await activity_on(requestor, provider(faulty, ""))
            for _ in range(2):
                (ran,) = await requestor.run(activity, json.dumps([sh("echo x > /golem/output/file")]))
                assert ran["result"] == "Ok"
            path = f"{ACTIVITY}/activity/{activity}/usage"
            assert (await requestor.call("GET", path))["currentUsage"][1] > 0
            await requestor.destroy_activity(activity)

    asyncio.run(use())
