"""Runs a devnet's own Ethereum chain (anvil), with a token like GLM in which the daemons pay each other."""

from __future__ import annotations

import json
import os
import shutil
from decimal import Decimal
from pathlib import Path

from requestor.devnet.services.ethereum import Erc20Token, EthereumNode, Transfer, to_units, word
from requestor.devnet.services.npm import NpmFile, NpmUnavailable
from requestor.devnet.services.ports import ensure_free
from requestor.devnet.services.process import ChildProcess
from requestor.errors import DevnetError

CHAIN_ID = 560048
"""The chain id of hoodi, the test network on which yagna's `erc20-hoodi-tglm` platform pays."""

ANVIL = NpmFile(
    package="@foundry-rs/anvil-linux-amd64",
    version="1.7.1",
    sha512="+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
    member="package/bin/anvil",
    executable=True,
)
TOKEN = NpmFile(
    package="@openzeppelin/contracts",
    version="4.9.6",
    sha512="xSmezSupL+y9VkHZJGDoCBpmnB2ogM13ccaYDWqJTfS3dbuHkgjuwDFUmaFauBCboQMGB/S5UqUl2y54X99BmA==",
    member="package/build/contracts/ERC20PresetFixedSupply.json",
)
_SUPPLY = Decimal(10) ** 9  # about as many as there are GLM on Ethereum

# Every payment is one transaction, because the contracts that bundle payments are not on this chain. The chain mines a
# block only if there is a transaction, so the age of its newest block says nothing.
_PAYMENTS = """\
[engine]
process-interval = 1
process-interval-after-send = 1
process-interval-after-error = 2
process-interval-after-no-gas-or-token-start = 2
process-interval-after-no-gas-or-token-max = 10
process-interval-after-no-gas-or-token-increase = 1.5
report-alive-interval = 30
gather-interval = 2
gather-at-start = true
automatic-recover = false
ignore-deadlines = false

[chain.hoodi]
chain-name = "Hoodi"
chain-id = {chain_id}
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = {{ address = "{token}", symbol = "tGLM" }}
confirmation-blocks = 0
block-explorer-url = "{url}"
external-source-check-interval = 300

[[chain.hoodi.rpc-endpoints]]
names = "devnet"
endpoints = "{url}"
priority = 0
max-timeout-ms = 5000
verify-interval-secs = 60
allowed-head-behind-secs = 1000000000
"""


class ChainUnavailable(DevnetError):
    """Says that this machine has no chain program and cannot fetch one.

    Daemons run without a chain; payments are not settled then.
    """


class Chain:
    """Runs one anvil process on the loopback interface, with a token.

    Attributes:
        node: its JSON-RPC endpoint.
        token: the GLM of this chain; set by `start`.
    """

    def __init__(self, port: int, *, log: Path) -> None:
        self.node = EthereumNode(f"http://127.0.0.1:{port}")
        self.token = Erc20Token(self.node, "")
        self.process: ChildProcess | None = None
        self._port = port
        self._log = log
        self._bank = ""

    async def start(self, *, timeout: float = 20.0) -> None:
        """Starts the chain and deploys the token.

        Fetches anvil and the token's contract through npm if they are not there yet.

        Raises:
            ChainUnavailable: anvil or the contract is missing, and npm is missing, too, or could not fetch it.
            DevnetError: the port is taken, or the chain does not answer within `timeout` seconds.
        """
        try:
            on_path = shutil.which("anvil")
            anvil = on_path or str(await ANVIL.fetch())
            contract = json.loads((await TOKEN.fetch()).read_text())
        except NpmUnavailable as error:
            raise ChainUnavailable(f"No local chain: {error}") from error
        where = ["--host", "127.0.0.1", "--port", str(self._port), "--chain-id", str(CHAIN_ID)]
        self.process = ChildProcess(
            "The chain",
            [anvil, *where, "--accounts", "1", "--quiet"],
            log=self._log,
            environment={"PATH": os.defpath, "HOME": str(self._log.parent)},
        )
        ensure_free(self._port, "The chain")
        await self.process.start(self._answers, timeout=timeout)
        try:
            self._bank = (await self.node.call("eth_accounts"))[0]
            self.token = await self._deploy(contract["bytecode"])
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops the chain; does nothing if it was never started."""
        if self.process is not None:
            await self.process.stop()

    async def fund(self, address: str, *, glm: Decimal = Decimal(0), gas: Decimal = Decimal(10)) -> None:
        """Gives an address `glm` tokens, and sets its balance of the chain's own coin to `gas`."""
        await self.node.call("anvil_setBalance", address, hex(to_units(gas)))
        if glm:
            await self.token.transfer(self._bank, address, glm)

    async def balance_of(self, address: str) -> Decimal:
        """Returns the GLM that an address holds. Raises DevnetError."""
        return await self.token.balance_of(address)

    async def transfers(self, *, sender: str | None = None, recipient: str | None = None) -> list[Transfer]:
        """Returns the transfers of GLM between addresses, oldest first; the devnet's own funding is included."""
        return await self.token.transfers(sender=sender, recipient=recipient)

    def payments_toml(self) -> str:
        """Returns the `config-payments.toml` with which a yagna daemon pays on this chain, as its network `hoodi`."""
        return _PAYMENTS.format(chain_id=CHAIN_ID, token=self.token.address, url=self.node.url)

    async def _answers(self) -> bool:
        try:
            return int(await self.node.call("eth_chainId", timeout=1.0), 16) == CHAIN_ID
        except DevnetError:
            return False

    async def _deploy(self, bytecode: str) -> Erc20Token:
        name, symbol = (word(len(text)) + text.encode().hex().ljust(64, "0") for text in ("Golem", "tGLM"))
        # constructor(string name, string symbol, uint256 supply, address owner): four words, then the strings
        arguments = word(4 * 32) + word(6 * 32) + word(to_units(_SUPPLY)) + word(self._bank) + name + symbol
        receipt = await self.node.send(**{"from": self._bank, "data": bytecode + arguments})
        return Erc20Token(self.node, receipt["contractAddress"])
