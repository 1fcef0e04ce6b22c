"""Talks to a yagna daemon over REST, in JSON: one client for requestors, providers and the devnet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from requestor.errors import AppKeyMissing, DaemonRefused, DaemonUnreachable

_Client = TypeVar("_Client", bound="DaemonClient")
_CONNECT_SECONDS = 5.0
_LONGEST_ANSWER = 1000  # characters of a refusal that go into its message


class DaemonClient:
    """A client of one daemon, with the identity of one app key. Use it with `async with`, which opens its HTTP session.

    Every method raises DaemonUnreachable if no daemon answers, AppKeyMissing if it does not know the app key, and
    DaemonRefused if it answers with any other HTTP error.

    Args:
        api_url: URL of the daemon's REST interface; a slash at its end makes no difference.
        timeout: seconds that one request may take.
    """

    def __init__(self, api_url: str, app_key: str, *, timeout: float = 30.0) -> None:
        self.api_url = api_url.rstrip("/")
        self._app_key = app_key
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self: _Client) -> _Client:
        headers = {"Authorization": f"Bearer {self._app_key}"}
        self._session = aiohttp.ClientSession(headers=headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def identity(self) -> str:
        """Returns the node id of the app key's identity, which is also its wallet's address: 0x and 40 hex digits."""
        return str((await self.request("GET", "/me"))["identity"])

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int | float] | None = None,
    ) -> Any:
        """Sends one request, and returns the parsed answer of the daemon; None if the answer is empty.

        Args:
            path: the part of the URL after `api_url`; begins with a slash.
        """
        if self._session is None:
            raise RuntimeError("a DaemonClient is used with `async with`")
        try:
            async with self._session.request(
                method, self.api_url + path, json=None if body is None else dict(body), params=dict(query or {})
            ) as response:
                text = await response.text()
                if response.status >= 400:
                    raise self._refusal(method, path, response.status, text)
                return json.loads(text) if text else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise DaemonUnreachable(
                f"No yagna daemon answers at {self.api_url} ({str(error) or type(error).__name__}): start one with "
                "`yagna service run`, or a local Golem with `nima-golem devnet up --detach`."
            ) from error
        except ValueError as error:
            raise DaemonUnreachable(
                f"The program at {self.api_url} is no yagna daemon: set YAGNA_API_URL to the address of yours."
            ) from error

    def _refusal(self, method: str, path: str, status: int, answer: str) -> AppKeyMissing | DaemonRefused:
        if status == 401:
            return AppKeyMissing(
                f"The yagna daemon at {self.api_url} does not know this app key: set YAGNA_APPKEY to one that "
                "`yagna app-key list` shows."
            )
        said = answer.strip()[:_LONGEST_ANSWER] or "it gave no reason"
        return DaemonRefused(
            f"The yagna daemon at {self.api_url} answered {status} to {method} {path}: {said.rstrip('.')}. "
            "See its log for the cause.",
            status,
            answer,
        )
