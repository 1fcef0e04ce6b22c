"""The client of the daemon's REST interface, and what requestors and providers make of its refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest
from aiohttp import web

from requestor.devnet.provider.rest import ProviderRest
from requestor.devnet.services.ports import Ports
from requestor.errors import AppKeyMissing, DaemonRefused, DaemonUnreachable, WalletEmpty
from requestor.golem.daemon import DaemonClient
from requestor.golem.networks import GolemConnection
from requestor.golem.wallet import Wallet

ME = {"identity": f"0x{40 * 'a'}"}


@dataclass
class Seen:
    """One request as the server got it; `peer`: the client's port, one for each connection."""

    method: str
    url: str
    key: str
    body: str
    peer: int


@dataclass
class Server:
    """A web server in the daemon's place: `/me` is answered as yagna does, all else with `status` and `answer`."""

    status: int = 200
    answer: str = ""
    url: str = ""
    seen: list[Seen] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[1]
        key = request.headers["Authorization"]
        self.seen.append(Seen(request.method, str(request.rel_url), key, await request.text(), peer))
        if request.path == "/me":
            return web.json_response(ME)
        return web.Response(status=self.status, text=self.answer)


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def with_server(server: Server, use: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving(server):
            await use(server)

    asyncio.run(run())


def test_requests_carry_the_key_go_through_one_session_and_come_back_parsed() -> None:
    async def use(server: Server) -> None:
        async with DaemonClient(f"{server.url}/", "secret") as daemon:
            assert await daemon.identity() == ME["identity"]
            assert await daemon.request("POST", "/offers", {"price": 1}, {"timeout": 0.5}) == {"id": 7}
        assert [(one.method, one.url) for one in server.seen] == [("GET", "/me"), ("POST", "/offers?timeout=0.5")]
        assert {one.key for one in server.seen} == {"Bearer secret"}
        assert json.loads(server.seen[1].body) == {"price": 1}
        assert len({one.peer for one in server.seen}) == 1

    with_server(Server(answer='{"id": 7}'), use)


def test_an_empty_answer_is_none() -> None:
    async def use(server: Server) -> None:
        async with DaemonClient(server.url, "secret") as daemon:
            assert await daemon.request("DELETE", "/thing") is None

    with_server(Server(), use)


def test_a_refusal_has_its_status_and_says_what_was_asked_and_answered() -> None:
    async def use(server: Server) -> None:
        async with DaemonClient(server.url, "secret") as daemon:
            with pytest.raises(DaemonRefused, match=r"answered 503 to GET /thing: try later\. See its log") as refused:
                await daemon.request("GET", "/thing")
        assert (refused.value.status, refused.value.answer) == (503, "try later")

    with_server(Server(503, "try later"), use)


def test_a_key_that_the_daemon_does_not_know() -> None:
    async def use(server: Server) -> None:
        async with DaemonClient(server.url, "wrong") as daemon:
            with pytest.raises(AppKeyMissing, match="set YAGNA_APPKEY"):
                await daemon.request("GET", "/thing")

    with_server(Server(401), use)


def test_what_is_no_daemon_is_said_to_be_none() -> None:
    async def use(server: Server) -> None:
        async with DaemonClient(server.url, "secret") as daemon:
            with pytest.raises(DaemonUnreachable, match="no yagna daemon: set YAGNA_API_URL"):
                await daemon.request("GET", "/thing")

    with_server(Server(200, "<html>"), use)


def test_where_nobody_listens() -> None:
    async def ask(url: str) -> None:
        async with DaemonClient(url, "secret") as daemon:
            await daemon.identity()

    with Ports() as ports:
        url = f"http://127.0.0.1:{ports.take()}"
        with pytest.raises(DaemonUnreachable, match=f"No yagna daemon answers at {url} .*yagna service run"):
            asyncio.run(ask(url))


def test_the_session_is_opened_first() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(DaemonClient("http://127.0.0.1:1", "secret").identity())


@pytest.mark.parametrize(("status", "harmless"), [(404, True), (410, True), (409, False), (403, False)])
def test_a_reservation_that_is_gone_is_released(status: int, harmless: bool) -> None:
    async def use(server: Server) -> None:
        async with Wallet(GolemConnection(server.url, "key", "hoodi")) as wallet:
            if harmless:
                await wallet.release("one")
            else:
                with pytest.raises(DaemonRefused):
                    await wallet.release("one")

    with_server(Server(status), use)


@pytest.mark.parametrize(("status", "harmless"), [(404, True), (409, True), (410, True), (403, False)])
def test_an_agreement_that_has_ended_is_terminated(status: int, harmless: bool) -> None:
    async def use(server: Server) -> None:
        async with Wallet(GolemConnection(server.url, "key", "hoodi")) as wallet:
            if harmless:
                await wallet.terminate("one", "done")
            else:
                with pytest.raises(DaemonRefused):
                    await wallet.terminate("one", "done")

    with_server(Server(status), use)


def test_a_wallet_that_holds_too_little() -> None:
    async def use(server: Server) -> None:
        async with Wallet(GolemConnection(server.url, "key", "polygon")) as wallet:
            with pytest.raises(WalletEmpty, match=r"0xa+ on polygon holds less than .* 2 GLM: send GLM"):
                await wallet.allocate(Decimal(2), timedelta(hours=1))

    with_server(Server(500, '{"message": "insufficient-account-funds"}'), use)


def test_a_provider_hears_of_nothing_when_nothing_has_happened() -> None:
    async def use(server: Server) -> None:
        async with ProviderRest(server.url, "key") as rest:
            assert await rest.agreement_events("2026-01-01T00:00:00Z", 0.1) == []

    with_server(Server(408), use)
