"""Runs a devnet in the test's own process, so that the requestor's daemon can be killed and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from requestor.devnet.network import Network, NetworkOptions
from requestor.devnet.services.daemons import Daemon
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import claimed


@asynccontextmanager
async def restartable_devnet(name: str, providers: int = 2) -> AsyncIterator[tuple[Devnet, Daemon]]:
    """Runs a devnet whose VMs have some overhead, as real ones; yields it, and the daemon of its requestor."""
    with claimed(name):
        network = Network(NetworkOptions(name, providers=providers, overhead=0.03))
        devnet = await network.start()
        try:
            assert network.requestor is not None
            yield devnet, network.requestor
        finally:
            await network.stop()


async def kill(daemon: Daemon) -> None:
    """Kills a daemon with SIGKILL; `daemon.start()` starts it again, with its data, keys and ports."""
    os.killpg(daemon.process.pid, signal.SIGKILL)
    await daemon.process.wait()
