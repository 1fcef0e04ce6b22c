"""Decides which requests are served, and how often: by their `Host` and `Origin`, and a token bucket per address.

A page of any web site can send requests to this machine from its owner's browser. It can read the answers only if it
makes its own host name resolve to this machine (DNS rebinding); the `Host` header of such a request has that name.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

_MOST_CLIENTS = 4096  # addresses that are remembered; the one without requests for the longest time is forgotten first


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach `host`, a name or an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_is_ours(header: str, *, loopback: bool, names: Collection[str]) -> bool:
    """Returns whether a `Host` header names this service: one of `names`, or an address, which no rebinding can forge.

    On loopback, the address must be one of loopback.
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
    """Returns whether the headers, as a browser sets them, say that a page of another origin sends this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    if origin is None:  # sent by no browser, or not across origins
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()
    except ValueError:
        return True


class RateLimit:
    """A token bucket for each client: `rate` requests a second on average, twice as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, 2 * rate)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → tokens, time of that count

    def wait(self, client: str) -> float:
        """Takes a token; returns 0, or the seconds until there is one."""
        now = self._clock()
        tokens, then = self._clients.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._clients[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
