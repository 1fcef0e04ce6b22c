"""Decides which requests are served, by their `Host` and `Origin`, and how often, by a token bucket for each address.

A page of any web site can send requests to this machine from its user's browser. It can read the answers only if it
makes its own host name resolve to this machine (DNS rebinding); the `Host` header of such a request has that name.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

# Largest number of addresses that are remembered; the address without requests for the longest time is forgotten first.
_MOST_CLIENTS = 4096


def is_loopback(host: str) -> bool:
    """Returns True if only this machine can reach `host`, which is a name or an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_is_ours(header: str, *, loopback: bool, names: Collection[str]) -> bool:
    """Returns True if a `Host` header names this service.

    It may have one of `names`, `localhost`, or any address, because DNS rebinding needs a name.

    Args:
        header: the value of the header.
        loopback: True if the service listens on loopback only; then the address must be one of loopback.
        names: further host names of the service.
    """
    try:
        hostname = urlsplit(f"//{header}").hostname
    except ValueError:
        return False
    if not hostname:
        return False
    if hostname == "localhost" or hostname in names:
        return True
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return address.is_loopback or not loopback


def comes_from_another_site(headers: CIMultiDictProxy[str]) -> bool:
    """Returns True if the headers, as browsers set them, show that a page of another origin sends this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    if origin is None:  # the request is from no browser, or does not cross origins
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()
    except ValueError:
        return True


class RateLimit:
    """A token bucket for each client.

    Args:
        rate: requests a second that a client may make on average; twice as many may come at once.
        clock: returns the time in seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, 2 * rate)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → tokens, time of that count

    def wait(self, client: str) -> float:
        """Takes a token of a client and returns 0; if there is none, returns the seconds until there will be one."""
        now = self._clock()
        tokens, then = self._clients.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._clients[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
