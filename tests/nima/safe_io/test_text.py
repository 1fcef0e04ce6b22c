"""Text from elsewhere: whatever it holds, what is shown of it does nothing to a terminal or to its line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.safe_io.text import MAX_TEXT_LENGTH, one_line, printable

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
ANY_TEXT = st.text(st.characters(categories=None)) | st.text(
    st.sampled_from(f"a \x1b\x00\ud800\xa0{BIDI}{LINE_BREAKS}")
)


def check_harmless(text: str) -> None:
    assert not set(text) & set(BIDI + LINE_BREAKS)
    assert not [character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert len(text.splitlines()) <= 1


@given(ANY_TEXT, st.sampled_from(["�", " ", "?", ""]))
def test_nothing_is_left_that_a_terminal_acts_upon(text: str, replacement: str) -> None:
    shown = printable(text, replacement)
    check_harmless(shown)
    assert printable(shown, replacement) == shown
    if replacement:
        assert len(shown) == len(text)


@given(ANY_TEXT, st.integers(0, 50) | st.just(MAX_TEXT_LENGTH))
def test_one_line_is_short_and_the_same_a_second_time(text: str, max_length: int) -> None:
    line = one_line(text, max_length)
    check_harmless(line)
    assert len(line) <= max_length
    assert one_line(line, max_length) == line
    assert "  " not in line


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("two  blanks.jpg", "two  blanks.jpg", "two blanks.jpg"),
        ("\x1b[2Jgone\r\n", "�[2Jgone��", "[2Jgone"),
        ("abc\u202egnp.exe", "abc�gnp.exe", "abc gnp.exe"),
        ("Grüße 写真 ★", "Grüße 写真 ★", "Grüße 写真 ★"),
    ],
)
def test_what_can_be_shown_stays(text: str, name: str, line: str) -> None:
    assert (printable(text), one_line(text)) == (name, line)
