"""The local chain: a real anvil with a real ERC-20."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest
import tomllib
from hypothesis import given
from hypothesis import strategies as st

from requestor.devnet.services.chain import ANVIL, CHAIN_ID, TOKEN, Chain, ChainUnavailable
from requestor.devnet.services.ethereum import EthereumNode, from_units, to_units
from requestor.devnet.services.npm import NpmUnavailable
from requestor.devnet.services.ports import Ports
from requestor.errors import DevnetError

ALICE, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20


def on_chain(tmp_path: Path, work: Callable[[Chain], Awaitable[None]]) -> None:
    async def run() -> None:
        with Ports() as ports:
            chain = Chain(ports.take(), log=tmp_path / "chain.log")
            try:
                await chain.start()
                await work(chain)
            except ChainUnavailable as error:
                pytest.skip(str(error))
            finally:
                await chain.stop()

    asyncio.run(run())


def test_it_gives_tokens_and_gas_and_lists_the_transfers(tmp_path: Path) -> None:
    async def work(chain: Chain) -> None:
        assert await chain.balance_of(ALICE) == 0
        await chain.fund(ALICE, glm=Decimal("12.345678901234567891"), gas=Decimal("0.5"))
        await chain.fund(BOB, glm=Decimal(1))
        await chain.fund(BOB)
        assert await chain.balance_of(ALICE) == Decimal("12.345678901234567891")
        assert int(await chain.node.call("eth_getBalance", ALICE, "latest"), 16) == 5 * 10**17
        (to_alice,) = await chain.transfers(recipient=ALICE)
        assert (to_alice.recipient, to_alice.amount) == (ALICE, Decimal("12.345678901234567891"))
        assert [t.recipient for t in await chain.transfers(sender=to_alice.sender)] == [ALICE, BOB]
        assert await chain.transfers(sender=ALICE) == []

    on_chain(tmp_path, work)


def test_daemons_are_told_where_it_is(tmp_path: Path) -> None:
    async def work(chain: Chain) -> None:
        hoodi = tomllib.loads(chain.payments_toml())["chain"]["hoodi"]
        assert hoodi["chain-id"] == int(await chain.node.call("eth_chainId"), 16) == CHAIN_ID
        assert await chain.node.call("eth_getCode", hoodi["token"]["address"], "latest") != "0x"
        assert hoodi["rpc-endpoints"][0]["endpoints"] == chain.node.url

    on_chain(tmp_path, work)


def test_a_refusal_is_quoted_and_a_stopped_chain_named(tmp_path: Path) -> None:
    async def work(chain: Chain) -> None:
        with pytest.raises(DevnetError, match="refused eth_noSuchMethod"):
            await chain.node.call("eth_noSuchMethod")
        with pytest.raises(DevnetError):
            await chain.token.transfer(ALICE, BOB, Decimal(1))
        await chain.stop()
        with pytest.raises(DevnetError, match="does not answer eth_call"):
            await chain.balance_of(ALICE)

    on_chain(tmp_path, work)


@given(st.integers(0, 10**28 - 1))
def test_amounts_keep_every_unit(units: int) -> None:
    assert to_units(from_units(units)) == units


def test_without_npm_the_chain_is_unavailable_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChainUnavailable, match="there is no npm"):
        asyncio.run(Chain(7500, log=tmp_path / "chain.log").start())


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a program named npm on PATH, and sets an empty cache."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo 'npm error no network' >&2; exit 1", "no network"),
        ("exit 0", "could not fetch"),
        ("echo something else > evil.tgz", "another archive"),
        ("sleep 60", "within 0.5 s"),
    ],
)
def test_what_npm_delivers_must_be_the_pinned_archive(npm: Path, script: str, problem: str) -> None:
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    with pytest.raises(NpmUnavailable, match=problem):
        asyncio.run(ANVIL.fetch(timeout=0.5))
    assert list(ANVIL.path.parent.iterdir()) == []


def test_a_cached_file_needs_no_npm(npm: Path) -> None:
    TOKEN.path.parent.mkdir(parents=True)
    TOKEN.path.write_text("{}")
    assert asyncio.run(TOKEN.fetch()) == TOKEN.path
    other_version = dataclasses.replace(TOKEN, version="0.0.0")
    assert other_version.path != TOKEN.path


def test_a_node_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DevnetError, match="does not answer eth_chainId"):
        asyncio.run(EthereumNode("http://127.0.0.1:1").call("eth_chainId"))
