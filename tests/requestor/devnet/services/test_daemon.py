"""Daemons as child processes: they get ready, reach each other, pay, and end with their supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from two_daemons import TwoDaemons, daemon_settings

from requestor.devnet.services.chain import Chain, ChainUnavailable
from requestor.devnet.services.daemons import Daemon
from requestor.devnet.services.ports import FIRST, LAST, Ports
from requestor.devnet.services.process import ChildProcess
from requestor.errors import DevnetError
from requestor.golem.bus.connection import ServiceBus


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


# ---- child processes


def shell(script: str, tmp_path: Path) -> ChildProcess:
    return ChildProcess("The child", ["/bin/sh", "-c", script], log=tmp_path / "child.log")


async def never() -> bool:
    return False


def test_a_child_that_ends_early_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(DevnetError, match=r"The child ended with exit code 3.*child\.log: no wallet"):
        asyncio.run(shell("echo no wallet >&2; exit 3", tmp_path).start(never))


def test_a_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    child = shell("sleep 60", tmp_path)
    with pytest.raises(DevnetError, match=r"not ready within 0\.2 s"):
        asyncio.run(child.start(never, timeout=0.2))
    assert not alive(child.pid)


def test_a_child_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path: Path) -> None:
    async def run() -> int:
        child = shell("trap '' TERM; sleep 60 & echo $!; wait; wait", tmp_path)
        await child.start()
        while not (tmp_path / "child.log").read_text():
            await asyncio.sleep(0.02)
        await child.stop(grace=0.2)
        assert not child.running
        await child.stop()
        return int((tmp_path / "child.log").read_text())

    until_gone(asyncio.run(run()))


def test_a_leashed_program_dies_with_a_killed_parent() -> None:
    program = """
import subprocess, time
from requestor.devnet.services.process import leashed
print(subprocess.Popen(leashed(["/bin/sleep", "60"])).pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until_gone(pid)


def test_ports_are_four_digits_and_never_handed_out_twice() -> None:
    with Ports() as first, Ports() as second:
        taken = [ports.take() for _ in range(50) for ports in (first, second)]
    assert len(set(taken)) == 100
    assert all(FIRST <= port <= LAST <= 9999 for port in taken)


# ---- yagna


def test_a_ready_daemon_answers_over_rest_and_knows_only_its_key(two_daemons: TwoDaemons) -> None:
    daemon = two_daemons.requestor

    async def status(key: str) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{daemon.api_url}/me") as response,
        ):
            return response.status, await response.text()

    code, text = asyncio.run(status(daemon.settings.app_key))
    assert code == 200
    assert daemon.node_id in text
    assert asyncio.run(status("wrong"))[0] == 401


def test_its_environment_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_AUTOCONF_APPKEY", "the user's own")
    monkeypatch.setenv("HOODI_GETH_ADDR", "http://elsewhere")
    with Ports() as ports:
        daemon = Daemon(daemon_settings(tmp_path / "daemon", ports, 7500))
    environment = daemon.process.environment
    assert environment is not None
    assert environment["YAGNA_AUTOCONF_APPKEY"] == daemon.settings.app_key
    assert "HOODI_GETH_ADDR" not in environment
    assert environment["YAGNA_DEV_SKIP_ALLOCATION_VALIDATION"] == "1"


def test_the_secret_decides_who_it_is_and_stopping_leaves_nothing(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    async def run() -> None:
        with Ports() as ports:
            secret = "00" * 31 + "01"
            settings = daemon_settings(tmp_path / "daemon", ports, two_daemons.hub.port, identity_secret=secret)
            daemon = Daemon(settings)
            await daemon.start()
            pid = daemon.process.pid
            # The address of the private key 1, which every Ethereum test suite uses.
            assert daemon.node_id == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
            async with await ServiceBus.connect(daemon.gsb_url) as bus:
                await daemon.stop()
                await bus.wait_closed()
            assert not alive(pid)
            await daemon.start()  # the ports are free again, and the wallet is the same
            assert daemon.node_id == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
            await daemon.stop()

    asyncio.run(run())


def test_a_taken_port_is_named(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    with Ports() as ports:
        settings = daemon_settings(tmp_path / "daemon", ports, two_daemons.hub.port)
    taken = two_daemons.requestor.settings.api_port
    with pytest.raises(DevnetError, match=f"port {taken}"):
        asyncio.run(Daemon(type(settings)(**{**vars(settings), "api_port": taken})).start())


def test_its_allocations_are_backed_by_the_chain(two_daemons: TwoDaemons, tmp_path: Path) -> None:
    async def allocate(daemon: Daemon, amount: str) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {daemon.settings.app_key}"}
        request = {"paymentPlatform": "erc20-hoodi-tglm", "totalAmount": amount, "makeDeposit": False}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{daemon.api_url}/payment-api/v1/allocations", json=request) as response,
        ):
            return response.status, await response.text()

    async def run() -> None:
        with Ports() as ports:
            chain = Chain(ports.take(), log=tmp_path / "chain.log")
            try:
                await chain.start()
            except ChainUnavailable as error:
                pytest.skip(str(error))
            payments = chain.payments_toml()
            settings = daemon_settings(tmp_path / "daemon", ports, two_daemons.hub.port, payments=payments)
            daemon = Daemon(settings)
            try:
                await daemon.start()
                await chain.fund(daemon.node_id, glm=Decimal(2))
                assert (await allocate(daemon, "1.5"))[0] == 201
                status, text = await allocate(daemon, "1")
                assert (status, "insufficient-account-funds" in text) == (400, True)
            finally:
                await daemon.stop()
                await chain.stop()

    asyncio.run(run())
