"""Who may ask, and how often: the `Host` and `Origin` of a request, and a token bucket for each address.

A page of any web site can send requests to this machine from its owner's browser. It cannot read the answers, unless it
makes its own name resolve to this machine (DNS rebinding), which its `Host` then gives away.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

_MOST_CLIENTS = 4096  # that are remembered; the one that was quiet the longest is forgotten first


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address to listen on, is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_is_ours(header: str, *, loopback: bool, names: Collection[str]) -> bool:
    """Whether a `Host` header names this service: one of `names`, or an address (which no rebinding can forge), on
    loopback only one of loopback."""
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
    """Whether a browser says that a page of another origin sends this request."""
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    if origin is None:  # no browser, or no cross-origin request
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()
    except ValueError:
        return True


class RateLimit:
    """A token bucket for each client: `rate` requests a second in the long run, twice as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, 2 * rate)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → tokens, when that was

    def wait(self, client: str) -> float:
        """Takes a token; seconds until there is one where there is none, else 0."""
        now = self._clock()
        tokens, then = self._clients.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._clients[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
