"""Names of providers are fit for a terminal and a page, whatever name a stranger chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.golem.provider_name import display_name


@given(st.one_of(st.none(), st.text(st.characters()), st.integers()), st.text())
def test_a_name_is_one_short_printable_line(chosen: object, provider_id: str) -> None:
    name = display_name(chosen, provider_id)
    assert 1 <= len(name) <= 48
    assert name.isprintable()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("bold-fox", "bold-fox"),
        ("\x1b[2Jbold\n\u202efox\ud800", "[2Jbold fox"),
        (" \t ", "0x12345678"),
        (None, "0x12345678"),
        ("x" * 99, "x" * 47 + "…"),
    ],
)
def test_what_nobody_should_see_is_taken_out(chosen: str | None, expected: str) -> None:
    assert display_name(chosen, "0x1234567890abcdef") == expected
