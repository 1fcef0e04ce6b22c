"""Finds free TCP ports on the loopback interface, and keeps them apart between the devnets of one machine."""

from __future__ import annotations

import errno
import random
import socket
from types import TracebackType

from requestor.errors import DevnetError

# Ports of four digits, because yagna's parser of the hub's address takes no more; outgoing connections get higher ones.
FIRST, LAST = 7500, 9999


def ensure_free(port: int, name: str) -> None:
    """Checks that nothing listens on a port that `name` will open.

    Otherwise the ready check of `name` would reach the other program.

    Raises:
        DevnetError: another program listens on it.
    """
    try:
        _probe(port)
    except OSError as error:
        raise DevnetError(f"{name} cannot listen on port {port}: {error.strerror}.") from error


def _probe(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        probe.bind(("127.0.0.1", port))


class Ports:
    """Hands out ports that nothing listens on, and that no other `Ports` of this machine hands out meanwhile.

    A port stays taken until `close`, or until this process ends: an abstract socket with its number holds it. So two
    devnets that start at once never choose the same port before their programs listen on it.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        """Returns a port between 7500 and 9999.

        Raises:
            DevnetError: no port is free.
        """
        for port in random.sample(range(FIRST, LAST + 1), LAST + 1 - FIRST):
            name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                name.bind(f"\0nima-golem-port-{port}")
                _probe(port)
            except OSError as error:
                name.close()
                if error.errno != errno.EADDRINUSE:
                    raise DevnetError(f"No port can be opened on 127.0.0.1: {error.strerror or error}.") from error
            else:
                self._held.append(name)
                return port
        raise DevnetError(f"All ports from {FIRST} to {LAST} are taken; stop some devnets.")

    def close(self) -> None:
        """Gives back all ports that `take` has returned."""
        for name in self._held:
            name.close()
        self._held.clear()

    def __enter__(self) -> Ports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
