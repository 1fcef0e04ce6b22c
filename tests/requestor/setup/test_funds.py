"""A wallet without gas hires nobody; a wallet about which nothing is known is not stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from requestor.errors import GolemError, WalletEmpty
from requestor.setup import funds


def ask(monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | Exception) -> None:
    async def payment_status(*arguments: object) -> dict[str, Any]:
        if isinstance(status, Exception):
            raise status
        return status

    monkeypatch.setattr(funds, "payment_status", payment_status)
    asyncio.run(funds.require_gas({}, "polygon", "0x1"))


def test_no_gas_is_said_before_anybody_is_hired(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WalletEmpty, match="0x1 on polygon has no gas, so that no bill could be paid: send some"):
        ask(monkeypatch, {"amount": "2", "gas": {"balance": "0"}})


@pytest.mark.parametrize(
    "status", [{"amount": "2", "gas": {"balance": "0.1"}}, {"amount": "2", "gas": None}, {}, GolemError("no answer")]
)
def test_gas_or_nothing_known_lets_a_run_begin(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | Exception
) -> None:
    ask(monkeypatch, status)
