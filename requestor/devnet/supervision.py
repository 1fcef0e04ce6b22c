"""Starts and stops a whole devnet: locks its folder, and supervises it in this process or in a separate one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from requestor.devnet.network import Network, NetworkOptions, OnProgress
from requestor.devnet.state import Devnet, devnet_folder, devnet_state_file
from requestor.errors import DevnetError, RequestorError

_STOP_SECONDS = 20.0
_OWNER_SECONDS = 0.5  # time between two checks that the devnet's owner still runs
# Free bytes of the disk below which no devnet starts: sandboxes end every task then (requestor/vm/sandbox_init.py).
_LEAST_FREE = 64 * 2**20

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def claimed(name: str) -> Iterator[Path]:
    """Locks the devnet's folder and clears what a killed devnet left in it; at the end only the logs stay.

    Raises DevnetError if a devnet of this name runs, or if its folder cannot be written or its disk is almost full.
    """
    folder = devnet_folder(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise DevnetError(
            f"A devnet cannot be kept in {folder} ({error.strerror}). Set XDG_DATA_HOME to a writable folder."
        ) from error
    with lock:  # Linux releases the lock even if this process is killed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DevnetError(
                f"A devnet named {name} runs already: stop it with `nima-golem devnet down --name {name}`, "
                "or start another one with --name."
            ) from None
        clear_devnet(folder)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        if (free := shutil.disk_usage(folder).free) < _LEAST_FREE:
            raise DevnetError(
                f"The disk of {folder} has {free / 1e6:.0f} MB free, and a devnet needs {_LEAST_FREE / 1e6:.0f} MB. "
                "Delete files, or set XDG_DATA_HOME to a folder on another disk."
            )
        (folder / "logs").mkdir()
        try:
            yield folder
        finally:
            clear_devnet(folder)


def clear_devnet(folder: Path) -> None:
    """Deletes everything that a devnet keeps in its folder, except its logs."""
    (folder / "devnet.json").unlink(missing_ok=True)
    for part in ("daemons", "agents", "bin", "images"):
        shutil.rmtree(folder / part, ignore_errors=True)


async def supervise_devnet(
    options: NetworkOptions, on_progress: OnProgress, on_ready: Callable[[Devnet], None]
) -> None:
    """Runs a devnet until SIGINT, SIGTERM, SIGHUP or the end of its owner, who must be the parent of this process.

    Raises DevnetError if it cannot start or a part of it ends.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with claimed(options.name):
        network = Network(options)
        asked = asyncio.ensure_future(_end_of(options.owner, stopped) if options.owner else stopped.wait())
        starting = asyncio.ensure_future(network.start(on_progress))
        await asyncio.wait({asked, starting}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        on_ready(starting.result())
        watching = asyncio.ensure_future(network.watch())
        try:
            await asyncio.wait({asked, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            await network.stop()


async def _end_of(owner: int, stopped: asyncio.Event) -> None:
    """Waits until `stopped` is set or the owner has ended; then this process has another parent."""
    while os.getppid() == owner and not stopped.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stopped.wait(), _OWNER_SECONDS)


def main() -> None:
    """Runs `python -m requestor.devnet.supervision OPTIONS FD`: options as JSON; `FD` gets the steps of the start.

    Each step is a line with a JSON object: `step` is what is started next; the last one has `ready` or `error`.
    """
    options = NetworkOptions(**json.loads(sys.argv[1]))
    # The file is opened with the first message, which comes after the folder is locked and cleared.
    log = logging.FileHandler(devnet_folder(options.name) / "logs" / "supervisor.log", delay=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[log])
    started = time.monotonic()
    with os.fdopen(int(sys.argv[2]), "w") as outcome:

        def tell(what: str, value: object) -> None:
            with contextlib.suppress(BrokenPipeError):  # who asked for the devnet may have ended
                print(json.dumps({what: value}), file=outcome, flush=True)

        def on_ready(devnet: Devnet) -> None:
            logger.info("ready after %.1f s", time.monotonic() - started)
            tell("ready", True)
            outcome.close()

        def on_progress(step: str) -> None:
            logger.info("starting: %s", step)
            tell("step", step)

        try:
            asyncio.run(supervise_devnet(options, on_progress, on_ready))
        except RequestorError as error:
            if outcome.closed:
                logger.error("%s", error)
            else:
                tell("error", str(error))
            raise SystemExit(1) from error
        except Exception:
            logger.exception("the supervisor failed")
            raise
        finally:
            if options.owner and os.getppid() != options.owner:  # nobody will look for the logs
                shutil.rmtree(devnet_folder(options.name), ignore_errors=True)


def start_devnet(options: NetworkOptions, on_progress: OnProgress = lambda _: None) -> Devnet:
    """Starts a supervisor that outlives this process unless it is the owner, and waits until its devnet is ready.

    `on_progress` is called with each step. If the wait is interrupted, by Ctrl-C for example, the devnet is stopped.
    Raises DevnetError if the devnet does not start.
    """
    read, write = os.pipe()
    with os.fdopen(read) as outcome:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "requestor.devnet.supervision", json.dumps(asdict(options)), str(write)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(write,),
            start_new_session=True,
        )
        os.close(write)
        try:
            told: dict[str, str] = {}
            for line in outcome:
                told = json.loads(line)
                if "step" in told:
                    on_progress(told["step"])
        except BaseException:
            supervisor.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervisor.wait(_STOP_SECONDS)
            raise
    if "ready" not in told:
        raise DevnetError(told.get("error") or f"The devnet did not start. See {devnet_folder(options.name) / 'logs'}.")
    return Devnet.load(devnet_state_file(options.name))


def stop_devnet(devnet: Devnet) -> None:
    """Ends a devnet, and waits until all of its processes have ended. Clears its folder if its supervisor has died."""
    if not devnet.running:
        clear_devnet(Path(devnet.folder))
        return
    os.kill(devnet.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while devnet.running and time.monotonic() < deadline:
        time.sleep(0.05)
    if devnet.running:
        os.kill(devnet.pid, signal.SIGKILL)  # its children end with it
        while devnet.running:
            time.sleep(0.05)
        clear_devnet(Path(devnet.folder))


if __name__ == "__main__":
    main()
