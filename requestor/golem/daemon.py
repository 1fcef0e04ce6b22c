"""Talks to a yagna daemon over REST, in JSON: one client for requestors, providers and the devnet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from nima.safe_io import one_line
from requestor.errors import AppKeyMissing, DaemonRefused, DaemonUnreachable
from requestor.golem.retrying import Absence, Trouble, repeat_request, trouble_of_error, trouble_of_status

_Client = TypeVar("_Client", bound="DaemonClient")
_CONNECT_SECONDS = 5.0
_LONGEST_ANSWER = 300  # characters of a refusal that go into its message


class DaemonClient:
    """A client of one daemon, with the identity of one app key. Use it with `async with`, which opens its HTTP session.

    Every method raises DaemonUnreachable if no daemon answers, AppKeyMissing if it does not know the app key, and
    DaemonRefused if it answers with any other HTTP error.

    Args:
        api_url: URL of the daemon's REST interface; a slash at its end makes no difference.
        timeout: seconds that one request may take.
        patience: seconds for which a request is sent again if the daemon is busy, restarted or behind a broken proxy;
            0 sends every request once. A daemon that has never answered is not waited for.
    """

    def __init__(self, api_url: str, app_key: str, *, timeout: float = 30.0, patience: float = 0.0) -> None:
        self.api_url = api_url.rstrip("/")
        self._app_key = app_key
        self.patience = patience
        self._answered = False
        self._absence = Absence()
        self._seconds = timeout
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
        *,
        patience: float | None = None,
    ) -> Any:
        """Sends a request, and returns the parsed answer of the daemon; None if the answer is empty.

        Args:
            method: HTTP method.
            path: the part of the URL after `api_url`; begins with a slash.
            body: the body, which is sent as JSON.
            query: the parameters of the query.
            patience: used instead of the client's, in seconds.
        """
        return await repeat_request(
            method,
            path,
            lambda: self._send(method, path, body, query),
            self.trouble_of,
            self.patience if patience is None else patience,
            absence=self._absence,
        )

    def trouble_of(self, error: Exception) -> Trouble | None:
        """Returns the trouble that an error of this client means; None if sending the request again would not help."""
        if isinstance(error, DaemonRefused):
            return trouble_of_status(error.status, error.answer)
        if isinstance(error, DaemonUnreachable) and error.__cause__ is not None:
            trouble = trouble_of_error(error.__cause__)
            return trouble if self._answered or trouble is Trouble.AWAY else None
        return None

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str | int | float] | None,
    ) -> Any:
        if self._session is None:
            raise RuntimeError("a DaemonClient is used with `async with`")
        try:
            async with self._session.request(
                method, self.api_url + path, json=None if body is None else dict(body), params=dict(query or {})
            ) as response:
                text = await response.text()
                self._answered = True
                if response.status >= 400:
                    raise self._refusal(method, path, response.status, text)
                return json.loads(text) if text else None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise DaemonUnreachable(unreachable(self.api_url, error, self._seconds)) from error
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
        return DaemonRefused(refusal(self.api_url, method, path, status, answer), status, answer)


def unreachable(api_url: str, error: BaseException, seconds: float) -> str:
    """Returns the message about a daemon that does not answer.

    Args:
        api_url: URL of the daemon.
        error: the exception of aiohttp.
        seconds: time limit of the request.
    """
    waited = isinstance(error, asyncio.TimeoutError) or not str(error)
    reason = f"it was waited for {seconds:.0f} s" if waited else one_line(str(error))
    return (
        f"No yagna daemon answers at {api_url} ({reason}): start one with `yagna service run`, or a local Golem with "
        "`nima-golem devnet up --detach`."
    )


def refusal(api_url: str, method: str, path: str, status: int, answer: str) -> str:
    """Returns the message about a request that a daemon answered with an HTTP error.

    Args:
        api_url: URL of the daemon.
        method, path: the request.
        status: the HTTP status.
        answer: the body of the answer: a JSON object with the field `message`, if the daemon wrote it.
    """
    return (
        f"The yagna daemon at {api_url} answered {status} to {method} {path}: {reason_in(answer).rstrip('.')}. "
        "See its log for the cause."
    )


def reason_in(answer: str) -> str:
    """Returns the reason that a daemon's answer gives, as one short line: not its JSON, and not a proxy's HTML."""
    text = answer.strip()
    if text.startswith("<"):
        return "a page in HTML, as a proxy sends it"
    try:
        value = json.loads(text)
        text = str(value["message"]) if isinstance(value, dict) and value.get("message") else text
    except ValueError:
        pass
    return one_line(text)[:_LONGEST_ANSWER] or "it gave no reason"
