"""Prices, captured output and names: the parts of billing that need no daemon."""

from __future__ import annotations

import asyncio
import os
import resource
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.devnet.exe_unit.capture import CapturedOutput
from requestor.devnet.provider.names import provider_name, provider_prices
from requestor.devnet.provider.pricing import COUNTERS, LinearPricing
from requestor.golem.property_names import CPU, DURATION
from requestor.vm.usage import UsageCounters, cpu_ticks


@pytest.mark.parametrize(
    ("coefficients", "usage", "cost"),
    [
        # the provider agent's own examples
        ((0.0001, 0.00005, 0.0), (44.017951, 103.002864998), "0.0095519383499"),
        ((0.002, 0.008, 0.0), (44.094619588, 0.0), "0.088189239176"),
        ((0.002, 0.008, 0.0), (24.141030488, 0.0), "0.048282060976"),
        # the start price comes last, and is charged even if nothing was used
        ((1.0, 2.0, 0.25), (0.0, 0.0), "0.25"),
        ((1.0, 2.0, 0.25), (3.0, 4.0), "11.25"),
        # rounded to the token's 18 decimals
        ((1 / 3, 0.0, 0.0), (0.1, 0.0), "0.033333333333333330"),
    ],
)
def test_linear_prices(coefficients: tuple[float, ...], usage: tuple[float, ...], cost: str):
    assert LinearPricing(coefficients).cost(usage) == Decimal(cost)


def test_cpu_is_priced_before_time():
    assert COUNTERS == (CPU, DURATION)


def test_a_usage_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 counters, the agreement prices 1"):
        LinearPricing((1.0, 0.0)).cost((1.0, 1.0))


def test_providers_have_names_of_their_own_and_the_same_prices_every_time():
    assert len({provider_name(index) for index in range(300)}) == 300
    assert provider_prices(0) == (1e-4, 2e-5, 0.0)
    assert provider_prices(1) == provider_prices(6) == (1.2e-4, 2.4e-5, 0.0)


def captured(mode: dict | None, *chunks: bytes) -> CapturedOutput:
    output = CapturedOutput.from_mode(mode)
    for chunk in chunks:
        output.write(chunk)
    return output


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        (None, None),
        ({"atEnd": {}}, "abcdefgh"),
        ({"atEnd": None}, "abcdefgh"),
        ({"stream": {}}, "abcdefgh"),
        ({"stream": {"limit": 3}}, "abc"),
        ({"atEnd": {"head": 3}}, "abc"),
        ({"atEnd": {"tail": 3}}, "fgh"),
        ({"atEnd": {"headTail": 5}}, "abcgh"),
        ({"atEnd": {"head": 0}}, None),
        ({"atEnd": {"head": 3, "format": "bin"}}, [97, 98, 99]),
    ],
)
def test_what_is_captured(mode: dict | None, value: object):
    assert captured(mode, b"abc", b"", b"defgh").value() == value


def test_quirks_of_captured_output():
    assert captured({"atEnd": {}}).value() is None, "empty output is null"
    assert captured({"atEnd": {}}, b"\xff\xe9").value() == "ÿé", "no UTF-8: each byte as Latin-1"
    assert captured({"atEnd": {"headTail": 6}}, b"abcd").value() == "abcbcd", "short output is repeated"
    streamed = CapturedOutput.from_mode({"stream": {}})
    assert streamed.write("é".encode()[:1]) == "�", "a character cut in two is lost in the stream"
    streamed.write("é".encode()[1:])
    assert streamed.value() == "é"


@pytest.mark.parametrize("mode", [{"head": 3}, {"atEnd": {"head": -1}}, {"atEnd": 5}, {}, {"atEnd": {}, "stream": {}}])
def test_unknown_capture_modes_are_refused(mode: dict):
    with pytest.raises(ValueError, match="capture"):
        CapturedOutput.from_mode(mode)


@given(st.lists(st.binary(max_size=20)), st.integers(0, 40))
def test_heads_and_tails_do_not_depend_on_the_chunks(chunks: list[bytes], limit: int):
    whole = b"".join(chunks)
    head = captured({"atEnd": {"head": limit, "format": "bin"}}, *chunks).value()
    tail = captured({"atEnd": {"tail": limit, "format": "bin"}}, *chunks).value()
    assert head == (list(whole[:limit]) or None)
    assert tail == (list(whole[max(0, len(whole) - limit) :]) or None)


def test_cpu_time_counts_children_that_have_ended():
    async def burn() -> tuple[list[list[float]], float, float]:
        busy = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done"
        program = f"/bin/sh -c '{busy}'; echo; read line"
        process = await asyncio.create_subprocess_exec("/bin/sh", "-c", program, stdin=-1, stdout=-1)
        assert process.stdout is not None
        done = asyncio.ensure_future(process.stdout.readline())
        plain, vm = UsageCounters(), UsageCounters(overhead=0.03)
        for usage in (plain, vm):
            usage.watch(process.pid)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = [plain.vector([CPU])]
        while not done.done():
            await asyncio.sleep(0.05)
            seconds.append(plain.vector([CPU]))
        for usage in (plain, vm):
            usage.watch(None)
        await process.communicate(b"\n")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert vm.vector([CPU])[0] == pytest.approx(1.03 * plain.vector([CPU])[0], rel=0.02)
        return [*seconds, plain.vector([CPU])], used, plain.vector([DURATION])[0]

    seconds, used, duration = asyncio.run(asyncio.wait_for(burn(), 60))
    assert seconds == sorted(seconds), "it never decreases"
    assert all(value == int(value) for [value] in seconds[:-1]), "whole seconds while it runs"
    assert seconds[-1][0] == pytest.approx(used, abs=0.1), "as getrusage counts it in the end"
    assert duration > 0
    assert cpu_ticks(os.getpid()) != []
