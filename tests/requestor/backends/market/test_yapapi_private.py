"""The installed yapapi still has, and uses, the private parts that the backend relies on."""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requestor.backends.market.yapapi_private import (
    CreateActivity,
    agreement_of,
    create_activities_with,
    pay_from,
    start_gftp_apart,
)

warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
from yapapi import Golem, WorkContext  # noqa: E402
from yapapi.config import ApiConfig  # noqa: E402
from yapapi.engine import _Engine  # noqa: E402
from yapapi.rest.activity import Activity  # noqa: E402
from yapapi.rest.market import Agreement  # noqa: E402
from yapapi.storage import gftp  # noqa: E402

PLATFORM, ADDRESS = "erc20-hoodi-tglm", f"0x{40 * 'a'}"


def with_golem(use: Callable[[Golem], Awaitable[None]]) -> None:
    """One that is not started, so that nothing is asked of a daemon."""

    async def run() -> None:
        config = ApiConfig(app_key="key", api_url="http://127.0.0.1:1")
        await use(Golem(budget=1, api_config=config, event_consumer=lambda event: None))

    asyncio.run(run())


def test_bills_are_paid_from_our_allocation() -> None:
    async def use(golem: Golem) -> None:
        pay_from(golem, allocation_id="ours", amount=Decimal(2), platform=PLATFORM, address=ADDRESS)
        bill: Any = SimpleNamespace(payer_addr=ADDRESS, payment_platform=PLATFORM)
        assert golem._engine._get_allocation(bill).id == "ours"

    with_golem(use)


def test_with_our_allocation_there_it_makes_none_of_its_own() -> None:
    asked: list[list[str]] = []

    async def decorate_demand(allocation_ids: list[str]) -> None:
        asked.append(allocation_ids)

    async def use(golem: Golem) -> None:
        # Without `new_allocation`: to ask for it would be an AttributeError.
        cast(Any, golem._engine)._payment_api = SimpleNamespace(decorate_demand=decorate_demand)
        pay_from(golem, allocation_id="ours", amount=Decimal(2), platform=PLATFORM, address=ADDRESS)
        await golem._engine._create_allocations()

    with_golem(use)
    assert asked == [["ours"]]


def test_activities_are_created_our_way() -> None:
    agreement = Agreement(cast(Any, None), "agreement")
    asked: list[Agreement] = []

    async def create(agreement: Agreement, original: CreateActivity) -> Activity:
        asked.append(agreement)
        return await original()

    async def new_activity(agreement_id: str, stream_events: bool) -> str:
        return f"activity of {agreement_id}"

    async def use(golem: Golem) -> None:
        engine: Any = golem._engine
        engine._all_agreements[agreement.id] = agreement
        engine._activity_api = SimpleNamespace(new_activity=new_activity)
        create_activities_with(golem, create)
        assert await engine.create_activity("agreement") == "activity of agreement"

    with_golem(use)
    assert asked == [agreement]


def test_workers_create_their_activities_with_the_method_that_we_replace() -> None:
    assert list(inspect.signature(_Engine.create_activity).parameters) == ["self", "agreement_id"]
    assert inspect.iscoroutinefunction(_Engine.create_activity)
    assert "await self.create_activity(agreement.id)" in inspect.getsource(_Engine.start_worker)


def test_the_file_server_is_out_of_the_terminals_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gftp"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gftp, "service", gftp.service)  # restored afterwards
    start_gftp_apart()

    async def session() -> int:
        async with gftp.service() as server:
            pid = cast(Any, server)._proc.pid
            return os.getsid(pid) - pid

    assert asyncio.run(session()) == 0


def test_a_worker_knows_its_agreement() -> None:
    agreement = Agreement(cast(Any, None), "agreement")
    context = WorkContext(cast(Any, None), agreement, cast(Any, None), cast(Any, None))
    assert agreement_of(context) is agreement
