"""Reads the exceptions of yapapi: their reasons in words, whose fault they are, and which of them pass."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import jsonrpc_base
from ya_activity.exceptions import ApiException as ActivityApiError
from ya_market.exceptions import ApiException as MarketApiError
from ya_payment.exceptions import ApiException as PaymentApiError
from yapapi.rest.activity import BatchError, BatchTimeoutError, CommandExecutionError

from nima.safe_io import one_line
from requestor.golem import Trouble, about_provider, reason_in, trouble_of_error, trouble_of_status

_API_ERRORS = (ActivityApiError, MarketApiError, PaymentApiError)
_OUR_ERRORS = (
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
    json.JSONDecodeError,  # the gftp process has ended
    jsonrpc_base.ProtocolError,
    jsonrpc_base.TransportError,
)


def trouble_of(error: Exception) -> Trouble | None:
    """Returns the trouble that an exception of yapapi's REST clients means; None if the request has failed for good."""
    if isinstance(error, _API_ERRORS):
        return trouble_of_status(error.status or 0, _answer(error))
    return trouble_of_error(error)


def is_our_fault(error: BaseException) -> bool:
    """Returns True if a failed script says nothing about its provider.

    It does not if this machine, its daemon or its file server failed.
    """
    if isinstance(error, _API_ERRORS):
        return not about_provider(_answer(error))
    return isinstance(error, _OUR_ERRORS)


def in_words(error: BaseException) -> str:
    """Returns the reason of a failure as one line for people, without the answers and headers that yapapi prints."""
    if isinstance(error, _API_ERRORS):
        return f"the yagna daemon answered {error.status}: {reason_in(_answer(error))}"
    if isinstance(error, BatchTimeoutError):
        return "it did not finish within the time limit"
    if isinstance(error, BatchError) and not isinstance(error, CommandExecutionError):
        return one_line(": ".join(str(part) for part in error.args if part)) or "the provider ended the activity"
    if isinstance(error, asyncio.TimeoutError):
        return "the yagna daemon did not answer in time"
    if isinstance(error, aiohttp.ClientError):
        return f"the yagna daemon does not answer ({one_line(str(error)) or type(error).__name__})"
    if isinstance(error, json.JSONDecodeError | jsonrpc_base.TransportError | jsonrpc_base.ProtocolError):
        return f"the file server of this machine failed ({one_line(str(error))})"
    if isinstance(error, OSError):
        return one_line(str(error))
    return f"{type(error).__name__}: {one_line(str(error))}"


def _answer(error: ActivityApiError | MarketApiError | PaymentApiError) -> str:
    body = error.body or ""
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body)
