"""`nima-golem serve`: scores photos over HTTP, and has a web page for people."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Literal

import click

from requestor.errors import ConfigurationError

if TYPE_CHECKING:
    from aiohttp import web


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address or host name to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--allow-network",
    is_flag=True,
    help="Allow a --host that other machines can reach. Everybody there can then use it.",
)
@click.option("--allow-host", "names", multiple=True, metavar="NAME",
              help="Also answer requests to this host name, such as a reverse proxy's. Can be repeated.")  # fmt: skip
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
@click.option("--device", default="auto", show_default=True,
              help="Device to compute on: auto, cpu, cuda or mps. cuda and mps are for torch.")  # fmt: skip
@click.option("--runtime", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
              help="onnx takes half of torch's time on CPUs for the same scores; auto is onnx on CPUs.")  # fmt: skip
@click.option("--max-megabytes", type=click.FloatRange(0.001, 1000), default=30, show_default=True,
              help="Largest file.")  # fmt: skip
@click.option("--max-megapixels", type=click.FloatRange(0.001, 178), default=60, show_default=True,
              help="Largest photo.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0.01), default=20, show_default=True,
              help="Photos per second from one address; more are answered with 429.")  # fmt: skip
@click.option("--max-waiting", type=click.IntRange(1, 1024), default=32, show_default=True,
              help="Photos that wait at the same time; more are answered with 503.")  # fmt: skip
@click.option("--max-waiting-each", type=click.IntRange(1, 1024), default=8, show_default=True,
              help="Photos from one address that wait at the same time; more are answered with 429.")  # fmt: skip
def serve(
    host: str,
    port: int,
    allow_network: bool,
    names: tuple[str, ...],
    model: str | None,
    device: str,
    runtime: Literal["auto", "onnx", "torch"],
    max_megabytes: float,
    max_megapixels: float,
    rate: float,
    max_waiting: int,
    max_waiting_each: int,
) -> None:
    """Answer POST /score with the row that `score --format json` prints for the photo. GET / is a web page for people.

    The server is reachable from this machine only. It has no password and no encryption: in a network, put it behind a
    reverse proxy that has both. Ctrl-C stops the server when the current requests are answered.

    \b
    Examples:
        nima-golem serve
        curl --data-binary @photo.jpg http://127.0.0.1:8000/score
        nima-golem serve --host 0.0.0.0 --allow-network
    """
    from requestor.scoring.serving import is_loopback

    loopback = is_loopback(host)
    if not loopback and not allow_network:
        raise ConfigurationError(
            f"--host {host} is open to other machines, and there is no password. Pass --allow-network to allow this."
        )

    # Imported here, as `--help` should not wait for numpy.
    from nima.scoring import DEFAULT_MODEL, Scorer, uses_onnx_runtime
    from requestor.scoring.serving import ScoringService, ScoringThread, ServiceLimits
    from requestor.terminal import announce_conversion, find_or_fetch_model

    model_path = find_or_fetch_model(model or DEFAULT_MODEL)
    if uses_onnx_runtime(runtime, device):
        announce_conversion(model_path)
    scorer = Scorer(model_path, device=device, runtime=runtime)
    limits = ServiceLimits(
        max_bytes=int(max_megabytes * 1e6),
        max_pixels=int(max_megapixels * 1e6),
        rate=rate,
        max_waiting=max_waiting,
        max_waiting_each=max_waiting_each,
    )
    thread = ScoringThread(scorer)
    own_names = frozenset(name.lower() for name in (host, *names))
    service = ScoringService(scorer.model, thread, limits, loopback=loopback, names=own_names)
    try:
        asyncio.run(_serve(service.app(), host, port, scorer.model))
    except OSError as error:
        raise ConfigurationError(
            f"--host {host} --port {port} cannot be used ({error.strerror}). Choose another --host or --port."
        ) from error
    finally:
        thread.close()


async def _serve(app: web.Application, host: str, port: int, model: str) -> None:
    """Serves until SIGINT or SIGTERM. Raises `OSError` if it cannot listen on this address."""
    from aiohttp import web

    from requestor.scoring.serving import runner_of

    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    runner = runner_of(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address, chosen = runner.addresses[0][:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {model} on http://{shown}:{chosen}/ until Ctrl-C.", err=True)
        await stop.wait()
    finally:
        await runner.cleanup()
