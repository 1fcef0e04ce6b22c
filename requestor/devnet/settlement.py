"""Lists what a devnet's requestor owes and has paid to each provider, and makes it pay now."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from requestor.devnet.provider import ProviderRest, plain_decimal
from requestor.devnet.services import Erc20Token, EthereumNode, find_yagna
from requestor.devnet.state import DEVNET_NETWORK, Devnet, NodeState, process_started
from requestor.errors import DevnetError, GolemError

_POLL_SECONDS = 0.5
_PROCESS_SECONDS = 4.0


@dataclass(frozen=True)
class ProviderAccount:
    """Sums up a provider's invoices by their state, and its wallet; all amounts are in GLM.

    `state`: idle, initialized, computing, or stopped. `wallet` is None if the devnet has no chain. `fault` is empty for
    an honest provider. `rejection`: the reason of the last demand or agreement that it rejected, if any.
    """

    name: str
    node_id: str
    state: str
    agreements: int
    invoiced: Decimal
    accepted: Decimal
    paid: Decimal
    wallet: Decimal | None
    fault: str
    rejection: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the account as JSON values; amounts are decimal numbers as text."""
        return {
            key: plain_decimal(value) if isinstance(value, Decimal) else value for key, value in asdict(self).items()
        }


async def provider_accounts(devnet: Devnet) -> list[ProviderAccount]:
    """Returns the accounts of all providers, as their own daemons and the chain report them. Raises GolemError."""
    return list(await asyncio.gather(*(_account(devnet, node) for node in devnet.providers)))


async def requestor_wallet(devnet: Devnet) -> Decimal | None:
    """Returns the GLM of the requestor on the chain; None if the devnet has no chain. Raises DevnetError."""
    return await _wallet(devnet, devnet.requestor)


async def settle_bills(devnet: Devnet, timeout: float) -> list[ProviderAccount]:
    """Makes the requestor pay all that it accepted, and waits until the providers have seen the payments on the chain.

    Returns the accounts of all providers then. Raises DevnetError if the devnet has no chain, or if not all is settled
    within `timeout` seconds.
    """
    if devnet.chain is None:
        raise DevnetError("This devnet has no chain, so nothing can be settled: install npm and start it again.")
    deadline = time.monotonic() + timeout
    asked = -_PROCESS_SECONDS
    while True:
        if time.monotonic() - asked >= _PROCESS_SECONDS:
            await _process_payments(devnet)
            asked = time.monotonic()
        owed = await _accepted(devnet)
        accounts = await provider_accounts(devnet)
        unpaid = {account.name: owed.get(account.node_id, Decimal(0)) - account.paid for account in accounts}
        waiting = {account.name for account in accounts if account.state != "stopped" and unpaid[account.name]}
        if not waiting:
            return accounts
        if time.monotonic() > deadline:
            missing = ", ".join(f"{plain_decimal(unpaid[name])} to {name}" for name in sorted(waiting))
            raise DevnetError(
                f"Not all was settled within {timeout:g} s; missing GLM: {missing}. "
                f"See {devnet.logs / 'requestor.log'}."
            )
        await asyncio.sleep(_POLL_SECONDS)


async def _accepted(devnet: Devnet) -> dict[str, Decimal]:
    """Returns the GLM that the requestor has promised to pay or has paid, by the provider's node id."""
    owed: dict[str, Decimal] = {}
    async with ProviderRest(devnet.requestor.api_url, devnet.requestor.app_key) as rest:
        for invoice in await rest.invoices():
            if invoice["status"] in ("ACCEPTED", "SETTLED"):
                issuer = invoice["issuerId"]
                owed[issuer] = owed.get(issuer, Decimal(0)) + Decimal(invoice["amount"])
    return owed


async def _account(devnet: Devnet, node: NodeState) -> ProviderAccount:
    invoiced = accepted = paid = Decimal(0)
    agreements, state, rejection = 0, "stopped", ""
    try:
        async with ProviderRest(node.api_url, node.app_key) as rest:
            for invoice in await rest.invoices():
                amount, status = Decimal(invoice["amount"]), invoice["status"]
                invoiced += amount
                accepted += amount if status in ("ACCEPTED", "SETTLED") else 0
                paid += amount if status == "SETTLED" else 0
        report = json.loads((Path(devnet.folder) / "agents" / node.name / "agent.json").read_text())
        agreements, rejection = report["agreements"], str(report.get("rejection", ""))
        state = report["state"] if process_started(report["pid"]) is not None else "stopped"
    except (GolemError, OSError, ValueError):
        pass  # a provider may have stopped
    wallet = await _wallet(devnet, node)
    return ProviderAccount(
        node.name, node.node_id, state, agreements, invoiced, accepted, paid, wallet, node.fault, rejection
    )


async def _wallet(devnet: Devnet, node: NodeState) -> Decimal | None:
    if devnet.chain is None:
        return None
    return await Erc20Token(EthereumNode(devnet.chain.url), devnet.chain.token).balance_of(node.node_id)


async def _process_payments(devnet: Devnet) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(find_yagna()), "payment", "process", "now", "--network", DEVNET_NETWORK),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **devnet.environment()},
        cwd=devnet.requestor.folder,
    )
    output, _ = await process.communicate()
    if process.returncode:
        text = output.decode(errors="replace").strip()[-300:]
        raise DevnetError(f"`yagna payment process now` failed: {text}")
