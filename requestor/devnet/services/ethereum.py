"""Calls an Ethereum node by JSON-RPC, and an ERC-20 token on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from requestor.errors import DevnetError

# A function is called by the first four bytes of the keccak-256 of its signature; an event is named by all 32 bytes.
_BALANCE_OF = "70a08231"  # balanceOf(address)
_TRANSFER = "a9059cbb"  # transfer(address,uint256)
_TRANSFER_EVENT = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_DECIMALS = 18


def to_units(amount: Decimal) -> int:
    """Converts coins to the smallest units (10⁻¹⁸); cuts off anything finer."""
    return int(amount.scaleb(_DECIMALS))


def from_units(units: int) -> Decimal:
    """Converts the smallest units to coins, exactly."""
    return Decimal(units).scaleb(-_DECIMALS)


def word(value: int | str) -> str:
    """Encodes a number or a 0x address as the 64 hex digits of one ABI word."""
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


@dataclass(frozen=True)
class EthereumNode:
    """Calls the JSON-RPC endpoint `url` of an Ethereum node."""

    url: str

    async def call(self, method: str, *parameters: object, timeout: float = 10.0) -> Any:
        """Calls a JSON-RPC method and returns its result.

        Raises:
            DevnetError: the node does not answer within `timeout` seconds, or answers with an error.
        """
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout)) as session,
                session.post(self.url, json=request) as response,
            ):
                answer = await response.json()
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise DevnetError(f"The chain at {self.url} does not answer {method}: {reason}.") from error
        if "error" in answer:
            raise DevnetError(f"The chain at {self.url} refused {method}: {answer['error'].get('message')}.")
        return answer["result"]

    async def send(self, **transaction: str) -> dict[str, Any]:
        """Sends a transaction from an account that the node signs for; returns its receipt when it is mined.

        Raises:
            DevnetError: the transaction was refused, failed, or was not mined within 10 s.
        """
        transaction_hash = await self.call("eth_sendTransaction", transaction)
        for _ in range(200):
            receipt: dict[str, Any] | None = await self.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                if int(receipt["status"], 16) != 1:
                    raise DevnetError(f"The transaction {transaction_hash} failed.")
                return receipt
            await asyncio.sleep(0.05)
        raise DevnetError(f"The transaction {transaction_hash} was not mined within 10 s.")


@dataclass(frozen=True)
class Transfer:
    """Describes one transfer of tokens: 0x addresses in lower case, the amount in coins."""

    sender: str
    recipient: str
    amount: Decimal
    block: int
    transaction: str


@dataclass(frozen=True)
class Erc20Token:
    """Calls an ERC-20 contract with 18 decimals, which is at the 0x `address`. All methods raise DevnetError."""

    node: EthereumNode
    address: str

    async def balance_of(self, address: str) -> Decimal:
        """Returns the coins that an address holds."""
        call = {"to": self.address, "data": "0x" + _BALANCE_OF + word(address)}
        return from_units(int(await self.node.call("eth_call", call, "latest"), 16))

    async def transfer(self, sender: str, recipient: str, amount: Decimal) -> None:
        """Sends coins from an account that the node signs for."""
        data = "0x" + _TRANSFER + word(recipient) + word(to_units(amount))
        await self.node.send(**{"from": sender, "to": self.address, "data": data})

    async def transfers(self, *, sender: str | None = None, recipient: str | None = None) -> list[Transfer]:
        """Returns all transfers so far, oldest first; only those of `sender` or `recipient` if given."""
        topics = [_TRANSFER_EVENT] + [name and "0x" + word(name) for name in (sender, recipient)]
        wanted = {"address": self.address, "fromBlock": "0x0", "toBlock": "latest", "topics": topics}
        return [
            Transfer(
                sender="0x" + log["topics"][1][-40:],
                recipient="0x" + log["topics"][2][-40:],
                amount=from_units(int(log["data"], 16)),
                block=int(log["blockNumber"], 16),
                transaction=log["transactionHash"],
            )
            for log in await self.node.call("eth_getLogs", wanted)
        ]
