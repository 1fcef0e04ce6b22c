"""`nima-golem serve`: scoring over HTTP, and a page to drop photos on."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click

from requestor.errors import ConfigurationError

if TYPE_CHECKING:
    from aiohttp import web


@click.command(short_help="Score photos over HTTP, with a page to drop them on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address or name to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any that is free."
)
@click.option(
    "--allow-network", is_flag=True, help="Let --host be one that other machines reach: anybody there can ask."
)
@click.option("--allow-host", "names", multiple=True, metavar="NAME",
              help="A host name under which to answer too, such as a reverse proxy's; may be repeated.")  # fmt: skip
@click.option("--model", help="A model's file, or a name of `models list`. [default: mobilenet_v1-ava]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--runtime", type=click.Choice(["torch", "onnx"]), default="torch", show_default=True,
              help="onnx takes half the time on CPUs for the same scores (needs nima-golem[export]).")  # fmt: skip
@click.option("--max-megabytes", type=click.FloatRange(0.001, 1000), default=30, show_default=True, help="Of a file.")
@click.option("--max-megapixels", type=click.FloatRange(0.001, 178), default=60, show_default=True, help="Of a photo.")
@click.option("--rate", type=click.FloatRange(0.01), default=20, show_default=True,
              help="Photos a second from one address; more get 429.")  # fmt: skip
@click.option("--max-waiting", type=click.IntRange(1, 1024), default=32, show_default=True,
              help="Photos at a time from all together; more get 503.")  # fmt: skip
def serve(
    host: str,
    port: int,
    allow_network: bool,
    names: tuple[str, ...],
    model: str | None,
    device: str,
    runtime: str,
    max_megabytes: float,
    max_megapixels: float,
    rate: float,
    max_waiting: int,
) -> None:
    """Answer POST /score, a photo, with the row that `score --format json` has for it; GET / is a page for people.

    It listens on this machine alone. There is no password and no encryption: for a network, put it behind a reverse
    proxy that has them. Ctrl-C lets what has begun finish, and stops.

    \b
    Examples:
        nima-golem serve
        curl --data-binary @photo.jpg http://127.0.0.1:8000/score
        nima-golem serve --host 0.0.0.0 --allow-network
    """
    from requestor.serving.access import is_loopback

    loopback = is_loopback(host)
    if not loopback and not allow_network:
        raise ConfigurationError(
            f"--host {host} is reached from other machines, and there is no password; add --allow-network to mean it."
        )

    # Imported here, as `--help` should not wait for torch.
    from nima.scoring import DEFAULT_MODEL, Scorer
    from requestor.model_files import model_file, tell_of_conversion
    from requestor.serving.app import Limits, Service
    from requestor.serving.scoring_thread import ScoringThread

    model_path = model_file(model or DEFAULT_MODEL)
    if runtime == "onnx":
        tell_of_conversion(model_path)
    scorer = Scorer(model_path, device=device, runtime=runtime)  # type: ignore[arg-type]  # click has checked it
    limits = Limits(
        max_bytes=int(max_megabytes * 1e6),
        max_pixels=int(max_megapixels * 1e6),
        rate=rate,
        max_waiting=max_waiting,
    )
    thread = ScoringThread(scorer)
    own_names = frozenset(name.lower() for name in (host, *names))
    service = Service(scorer.model, thread, limits, loopback=loopback, names=own_names)
    try:
        asyncio.run(_serve(service.app(), host, port, scorer.model))
    except OSError as error:
        raise ConfigurationError(f"--host {host} --port {port} cannot be listened on ({error.strerror}).") from error
    finally:
        thread.close()


async def _serve(app: web.Application, host: str, port: int, model: str) -> None:
    """Until SIGINT or SIGTERM. Raises `OSError` where it cannot listen there."""
    from aiohttp import web

    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=10, keepalive_timeout=15)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address, chosen = runner.addresses[0][:2]
        shown = f"[{address}]" if ":" in address else address
        click.echo(f"Serving {model} on http://{shown}:{chosen}/ until Ctrl-C.", err=True)
        await stop.wait()
    finally:
        await runner.cleanup()
