"""FlexBuffers: the same values as the reference library, and no harm from hostile buffers."""

from __future__ import annotations

import contextlib
import os

import pytest
from flatbuffers import flexbuffers as reference
from hypothesis import given
from hypothesis import strategies as st

from requestor.golem.bus import flexbuffers
from requestor.golem.bus.flexbuffers import FlexBufferError

keys = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=8)  # the limit of the reference library
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)  # the reference library writes no larger ones
    | st.floats(-1e30, 1e30)  # it overflows beyond single precision
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
    | st.binary(max_size=300)
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=5) | st.dictionaries(keys, v, max_size=5), max_leaves=20)


@given(values)
def test_the_reference_library_reads_what_is_written(value: object) -> None:
    assert reference.Loads(flexbuffers.encode(value)) == value


@given(values)
def test_what_the_reference_library_writes_is_read(value: object) -> None:
    assert flexbuffers.decode(bytes(reference.Dumps(value))) == value


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), [1, 2, 300], [1.5, 2.5], ["a", "b"], [True, False], b""])
def test_values_come_back(value: object) -> None:
    assert flexbuffers.decode(flexbuffers.encode(value)) == value


@pytest.mark.parametrize("elements", [[1, 2, 3], [1, 70000], [0.5, 1.5, 2.5, 3.5], [7, 8]])
def test_typed_vectors_are_read(elements: list[float]) -> None:
    builder = reference.Builder()
    builder.TypedVectorFromElements(elements)
    assert flexbuffers.decode(bytes(builder.Finish())) == elements


@pytest.mark.parametrize("elements", [[1, 2], [1, 2, 300], [0.5, 1.5, 2.5, 3.5]])
def test_vectors_of_fixed_length_are_read(elements: list[float]) -> None:
    builder = reference.Builder()
    builder.FixedTypedVectorFromElements(elements)
    assert flexbuffers.decode(bytes(builder.Finish())) == elements


def test_a_file_chunk_is_stored_once() -> None:
    content = os.urandom(40960)
    encoded = flexbuffers.encode({"Ok": {"offset": 2**40, "content": content}})
    assert len(encoded) < len(content) + 256


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_but_never_crashes(noise: bytes) -> None:
    with contextlib.suppress(FlexBufferError):
        flexbuffers.decode(noise)


@given(values, st.data())
def test_a_damaged_buffer_is_refused_or_read_but_never_crashes(value: object, data: st.DataObject) -> None:
    damaged = bytearray(flexbuffers.encode(value))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FlexBufferError):
        flexbuffers.decode(bytes(damaged))


def test_a_buffer_that_unfolds_without_end_is_refused() -> None:
    # Each of 20 vectors holds the one before it 200 times: 200 to the power of 20 elements in 12 kB.
    vector = flexbuffers.VECTOR
    buffer = bytearray([1, 0, 7, 0, flexbuffers.INT << 2 | 1])
    start = 2
    for _ in range(20):
        length = 200
        below, start = start, len(buffer) + 2
        buffer += length.to_bytes(2, "little")
        for _ in range(length):
            buffer += (len(buffer) - below).to_bytes(2, "little")
        buffer += bytes([vector << 2 | 1] * length)
    buffer += (len(buffer) - start).to_bytes(2, "little") + bytes([vector << 2 | 1, 2])
    with pytest.raises(FlexBufferError, match="unfolds"):
        flexbuffers.decode(bytes(buffer))


@pytest.mark.parametrize("value", [object(), 2**64, {1: 2}, {"a\0": 1}, "\ud800", {1, 2}])
def test_what_cannot_be_sent_is_named(value: object) -> None:
    with pytest.raises(FlexBufferError):
        flexbuffers.encode(value)


def test_nesting_has_an_end() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(FlexBufferError, match="nested"):
        flexbuffers.encode(value)
