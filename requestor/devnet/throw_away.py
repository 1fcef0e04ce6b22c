"""Runs a devnet for one program alone, and stops it whatever happens to the program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requestor.devnet.network import NetworkOptions
from requestor.devnet.state import Devnet
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.errors import RunStopped


@contextmanager
def throw_away_devnet(providers: int, subnet: str = "") -> Iterator[Devnet]:
    """Starts a devnet for a `with` block, and stops it at the end of the block.

    In the block, the environment variables of this process name the devnet, instead of any other Golem. If this process
    is killed, the devnet ends by itself. Its logs are kept only if the block raises an error other than RunStopped.

    Args:
        providers: number of providers, 1 to 50.
        subnet: Golem subnet of its nodes; if empty, one of its own.

    Raises DevnetError if the devnet does not start, and RunStopped if Ctrl-C is pressed while it starts.
    """
    options = NetworkOptions(f"run-{os.getpid()}", providers=providers, subnet=subnet, owner=os.getpid())
    try:
        devnet = start_devnet(options)
    except KeyboardInterrupt:
        raise RunStopped("Stopped while the devnet was starting; the same command starts again.") from None
    before, failed = dict(os.environ), False
    os.environ.update(devnet.environment())
    try:
        yield devnet
    except Exception as error:
        failed = not isinstance(error, RunStopped)
        raise
    finally:
        os.environ.clear()
        os.environ.update(before)
        stop_devnet(devnet)
        if not failed:
            shutil.rmtree(Path(devnet.folder), ignore_errors=True)
