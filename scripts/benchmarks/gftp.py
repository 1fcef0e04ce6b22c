#!/usr/bin/env python3
"""Measures the speed of files between a requestor and a provider, on the path that they take on a devnet.

A `gftp server` program runs on the requestor's yagna daemon, the provider's transfer code on another daemon, and the
hub between them: five processes on this machine's loopback interface. Each figure is the median of some runs. Every
file's hash is verified, and the time includes that. A bare TCP socket between two processes is measured for comparison.

    python scripts/benchmarks/gftp.py [--megabytes 64] [--runs 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from requestor.devnet.services import Daemon, DaemonSettings, Hub, Ports
from requestor.golem.bus import ServiceBus
from requestor.golem.gftp.client import download_over_gftp, upload_over_gftp
from requestor.golem.gftp.messages import CHUNK, GOLEM_CHUNK

GOALS = {"down": 30.0, "up": 15.0}  # MB/s
OURS = "this project's providers"
CHUNKS = {OURS: CHUNK, "Golem's own providers": GOLEM_CHUNK}


class GftpProgram:
    """Runs `gftp server` as yapapi does: a subprocess that takes requests on its stdin."""

    def __init__(self, gsb_url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "requestor.golem.gftp.program", "server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"GSB_URL": gsb_url},
        )

    async def ask(self, method: str, **parameters: object) -> Any:
        """Calls a method of the program, and returns its result."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(await asyncio.to_thread(self.process.stdout.readline))
        if "error" in answer:
            raise SystemExit(f"gftp could not {method}: {answer['error']['message']}")
        return answer["result"]

    async def stop(self) -> None:
        """Shuts the program down."""
        await self.ask("shutdown")
        self.process.wait(10)


async def timed(work: Awaitable[object]) -> float:
    """Returns the seconds that the work takes."""
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


def raw_socket(content: bytes) -> float:
    """Returns the seconds that the bytes take from one process to another through a loopback TCP connection."""
    receive = (
        "import socket,sys\ns=socket.create_connection(('127.0.0.1',int(sys.argv[1])))\n"
        "while s.recv(1<<18): pass\ns.close()"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", receive, str(server.getsockname()[1])]
        with subprocess.Popen(command) as receiver, server.accept()[0] as connection:
            start = time.perf_counter()
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            receiver.wait()
            return time.perf_counter() - start


async def measure(folder: Path, size: int, runs: int) -> tuple[dict[str, dict[str, float]], float]:
    """Returns the median MB/s (10⁶ bytes) of downloads and uploads for each of CHUNKS, and of the bare socket."""
    content = secrets.token_bytes(size)
    source = folder / "source"
    source.write_bytes(content)
    seconds: dict[str, dict[str, list[float]]] = {name: {"down": [], "up": []} for name in CHUNKS}
    bare = [raw_socket(content) for _ in range(runs)]
    with Ports() as ports:
        hub = Hub(ports.take(), log=folder / "hub.log")
        requestor, provider = (
            Daemon(
                DaemonSettings(
                    folder=folder / name,
                    log=folder / f"{name}.log",
                    api_port=ports.take(),
                    gsb_port=ports.take(),
                    hub_port=hub.port,
                    app_key=secrets.token_hex(16),
                    identity_secret=secrets.token_hex(32),
                ),
                name=f"The {name}'s yagna",
            )
            for name in ("requestor", "provider")
        )
        try:
            await hub.start()
            await asyncio.gather(requestor.start(), provider.start())
            gftp = GftpProgram(requestor.gsb_url)
            async with await ServiceBus.connect(provider.gsb_url) as bus:
                for name, chunk in list(CHUNKS.items()) * runs:
                    fetched, sent = folder / "fetched", folder / "sent"
                    (published,) = await gftp.ask("publish", files=[str(source)])
                    expected = await gftp.ask("receive", output_file=str(sent))
                    fetching = download_over_gftp(bus, published["url"], fetched, chunk=chunk)
                    seconds[name]["down"].append(await timed(fetching))
                    seconds[name]["up"].append(await timed(upload_over_gftp(bus, source, expected["url"], chunk=chunk)))
                    for copy in (fetched, sent):
                        if copy.read_bytes() != content:
                            raise SystemExit(f"{copy} is not what was sent.")
                        copy.unlink()
            await gftp.stop()
        finally:
            await asyncio.gather(requestor.stop(), provider.stop())
            await hub.stop()

    def speed(times: list[float]) -> float:
        return size / statistics.median(times) / 1e6

    return {name: {way: speed(t) for way, t in ways.items()} for name, ways in seconds.items()}, speed(bare)


def machine() -> dict[str, object]:
    """Describes the machine on which the figures were taken."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "yagna": version("golem-node"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The speed of gftp between two real yagna daemons.")
    parser.add_argument("--megabytes", type=int, default=64, help="size of the file, in 10⁶ bytes")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    options = parser.parse_args()
    host = machine()
    with tempfile.TemporaryDirectory(prefix="bench-gftp-") as folder:
        speeds, bare = asyncio.run(measure(Path(folder), options.megabytes * 10**6, options.runs))
    passed = all(speeds[OURS][way] >= goal for way, goal in GOALS.items())
    if options.json:
        figures = {"mb_per_s": speeds, "socket_mb_per_s": bare, "goals_mb_per_s": GOALS, "passed": passed}
        print(json.dumps(figures | {"megabytes": options.megabytes, "runs": options.runs, "machine": host}))
    else:
        print(f"{options.megabytes} MB, median of {options.runs}, in MB/s")
        print(f"  {'chunks as of':<28}{'bytes':>8}{'down':>8}{'up':>8}")
        for name, ways in speeds.items():
            print(f"  {name:<28}{CHUNKS[name]:>8}{ways['down']:>8.1f}{ways['up']:>8.1f}")
        print(f"  {'goal':<28}{'':>8}{GOALS['down']:>8.1f}{GOALS['up']:>8.1f}")
        print(f"  {'bare TCP socket':<28}{'':>8}{bare:>8.1f}")
        print("  " + ", ".join(f"{name} {value}" for name, value in host.items()))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
