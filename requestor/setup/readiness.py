"""Makes sure that a run has a Golem to hire on, before it does any work: its own devnet, or a daemon that answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from requestor.devnet import DEVNET_NETWORK, running_devnets, throw_away_devnet
from requestor.errors import AppKeyMissing, ConfigurationError, DaemonUnreachable
from requestor.golem import PATIENCE, DaemonClient, GolemConnection
from requestor.setup.funds import require_gas

WAYS_TO_GOLEM = """\
Other ways to go on:
  - `--devnet` starts a local Golem for this run alone, and stops it at the end.
  - `--backend local` trains in subprocesses of this machine: no Golem is needed, and nothing is paid.
  - `nima-golem doctor` checks your own yagna, and says how to install and start it."""
_PROVIDERS = 3


def require_daemon(environment: Mapping[str, str], network: str | None) -> None:
    """Asks the daemon for its identity and for gas, so that a run without one of them fails at once.

    Args:
        environment: environment variables that name the daemon and the app key.
        network: payment network; None for that of the environment.

    Raises AppKeyMissing or DaemonUnreachable, with the other ways to go on, WalletEmpty if there is no gas, and
    DaemonRefused if the daemon has an error of its own.
    """

    async def ask() -> None:
        connection = GolemConnection.from_environment(environment, network)
        async with DaemonClient(connection.api_url, connection.app_key, patience=PATIENCE) as daemon:
            address = await daemon.identity()
        chainless = [devnet.requestor.api_url for devnet in running_devnets() if devnet.chain is None]
        if connection.api_url not in chainless:  # there, nothing is paid
            await require_gas(environment, connection.network, address)

    try:
        asyncio.run(ask())
    except (AppKeyMissing, DaemonUnreachable) as error:
        raise type(error)(f"{error}\n{WAYS_TO_GOLEM}") from error


@contextmanager
def golem_of_run(
    own_devnet: bool,
    providers: int | None,
    backend: str,
    network: str | None,
    subnet: str | None,
    note: Callable[[str], None],
) -> Iterator[None]:
    """Runs a devnet for the length of a `with` block if a run asks for its own; does nothing otherwise.

    Args:
        own_devnet: True if the run asks for its own devnet.
        providers: number of the devnet's providers; None for 3.
        backend: "golem" or "local".
        network, subnet: payment network and Golem subnet that the run asks for; None if it does not matter.
        note: is called with lines for people.

    Raises ConfigurationError if these contradict each other, and the errors of `throw_away_devnet`.
    """
    if not own_devnet:
        if providers is not None:
            raise ConfigurationError("--providers is the number of the devnet's providers: give --devnet, too.")
        yield
        return
    if backend != "golem":
        raise ConfigurationError(f"--devnet: --backend {backend} hires nobody; leave one of the two out.")
    if network not in (None, DEVNET_NETWORK):
        raise ConfigurationError(f"--devnet pays on its own chain: leave --network {network} out.")
    count = providers or _PROVIDERS
    note(
        f"Starting a devnet of {count} providers for this run. The first time, npm downloads the programs of the chain."
    )
    with throw_away_devnet(count, subnet or ""):
        try:
            yield
        finally:
            note("Stopping the devnet of this run.")
