"""The exceptions of yapapi: whose fault they are, and their reasons in words."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import jsonrpc_base
import pytest
from ya_activity.exceptions import ApiException as ActivityApiError
from ya_payment.exceptions import ApiException as PaymentApiError
from yapapi.rest.activity import BatchError, BatchTimeoutError

from requestor.backends.market.failures import in_words, is_our_fault


def answered(status: int, body: object, kind: type[Exception] = ActivityApiError) -> Exception:
    error = kind(status, "reason")  # type: ignore[call-arg]
    error.body = body  # type: ignore[attr-defined]
    error.headers = {"date": "today"}  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answered(500, '{"message": "the database is locked"}'), "answered 500: the database is locked"),
        (answered(502, b"<html>bad gateway</html>", PaymentApiError), "answered 502: a page in HTML"),
        (aiohttp.ServerDisconnectedError(), "the yagna daemon does not answer (Server disconnected)"),
        (asyncio.TimeoutError(), "the yagna daemon did not answer in time"),
        (jsonrpc_base.ProtocolError(-32000, "no such file"), "the file server of this machine failed"),
        (json.JSONDecodeError("nothing", "", 0), "the file server of this machine failed"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_our_own_failures_are_no_fault_of_a_provider(error: Exception, words: str) -> None:
    assert is_our_fault(error)
    assert words in in_words(error)
    assert "\n" not in in_words(error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answered(500, '{"message": "GSB error: endpoint address not found"}'), "endpoint address not found"),
        (BatchTimeoutError(), "within the time limit"),
        (BatchError("Activity terminated by provider", "idle", None), "Activity terminated by provider: idle"),
        (RuntimeError("strange"), "RuntimeError: strange"),
    ],
)
def test_failures_of_a_provider(error: Exception, words: str) -> None:
    assert not is_our_fault(error)
    assert words in in_words(error)
