"""A round's line of metrics.jsonl: what is written is read again, and so is what other versions wrote."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requestor.records.round_record import OutcomeEntry, RoundEntry, latest

AMOUNTS = st.decimals(0, 10**9, places=18)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
OUTCOMES = st.builds(OutcomeEntry, seconds=NUMBERS, norm=NUMBERS, emd=NUMBERS, loss=NUMBERS, cost_glm=AMOUNTS)
ROUNDS = st.builds(
    RoundEntry, round=st.integers(0), updates=st.lists(OUTCOMES, max_size=2).map(tuple), loss=st.none() | NUMBERS,
    holdout=st.none() | st.dictionaries(st.sampled_from(["srcc_mean", "emd_r1", "n"]), NUMBERS),
    spent_glm=st.none() | AMOUNTS,
)  # fmt: skip
ADMITTED: dict[str, Any] = {
    "job": "round-0001-client-0000", "client": 0, "provider": "bold-fox", "provider_id": "0x1", "admitted": True,
    "kind": "admitted", "verdict": "admitted", "norm": 0.5, "emd": None, "content": "ab", "samples": 40,
    "loss": 0.25, "seconds": 5.0, "cost_glm": "0.0020",
}  # fmt: skip
LINE: dict[str, Any] = {
    "round": 1, "moved": True, "admitted": 1, "loss": 0.25, "holdout": {"emd_r1": 0.06, "n": 34}, "spent_glm": "0.01",
    "updates": [ADMITTED],
}  # fmt: skip


@settings(max_examples=30)
@given(ROUNDS)
def test_what_is_written_is_read_again(entry: RoundEntry) -> None:
    assert RoundEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


def test_a_line_keeps_its_form() -> None:
    assert RoundEntry.from_json(LINE).to_json() == LINE
    assert RoundEntry.from_json(LINE).updates[0].cost_glm == Decimal("0.002")


def test_what_a_newer_version_adds_is_ignored() -> None:
    newer = {**LINE, "mood": "good", "updates": [{**ADMITTED, "colour": "red"}]}
    assert RoundEntry.from_json(newer) == RoundEntry.from_json(LINE)


def test_what_older_versions_did_not_write_yet_is_filled_in() -> None:
    def line(**fields: Any) -> RoundEntry:
        update = {"provider": "fox", "admitted": True, "verdict": "admitted", "norm": None, "loss": 0.1, "seconds": 4}
        refused = {**update, "admitted": False, "verdict": "the update is zero"}
        return RoundEntry.from_json({"round": 1, "admitted": 1, "updates": [update, refused], **fields})

    skipped, moved = line(), line(loss=0.1, holdout={"emd_r1": 0.06}, spent_glm="0.01")
    assert (skipped.moved, moved.moved) == (False, True)
    assert [update.kind for update in moved.updates] == ["admitted", "no update"]
    assert (moved.admitted, moved.updates[0].samples, moved.updates[0].client) == (1, 0, None)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("line", {"round": "1"}),
        ("line", {"round": True}),
        ("line", {"moved": "yes"}),
        ("line", {"loss": "0.1"}),
        ("line", {"updates": None}),
        ("line", {"updates": [1]}),
        ("line", {"holdout": [0.1]}),
        ("line", {"holdout": {"emd_r1": "small"}}),
        ("line", {"spent_glm": "a coffee"}),
        ("line", {"spent_glm": 0.1}),
        ("update", {"kind": 1}),
        ("update", {"verdict": None}),
        ("update", {"client": "0"}),
        ("update", {"samples": 1.5}),
        ("update", {"seconds": "5"}),
        ("update", {"cost_glm": "NaN"}),
    ],
)
def test_a_wrong_type_is_an_error(part: str, change: dict[str, Any]) -> None:
    changed = {**LINE, **change} if part == "line" else {**LINE, "updates": [{**ADMITTED, **change}]}
    with pytest.raises(ValueError, match=r"\w"):
        RoundEntry.from_json(changed)


def test_a_missing_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match="verdict"):
        RoundEntry.from_json({**LINE, "updates": [{"kind": "admitted"}]})


def test_of_a_round_that_was_done_again_the_last_entry_counts() -> None:
    skipped, first, second = RoundEntry(2, False, ()), RoundEntry(1, True, ()), RoundEntry(2, True, ())
    assert latest([skipped, first, second]) == [first, second]
