from decimal import Decimal
from pathlib import Path

import pytest

from requestor.errors import RunFolderError
from requestor.records.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_an_invoice_takes_the_place_of_what_was_accepted_before(ledger: Ledger) -> None:
    ledger.record("debit_note", agreement="a1", activity="x", amount=Decimal("0.3"))
    assert ledger.spent() == Decimal("0.3")
    ledger.record("invoice", agreement="a1", amount=Decimal("0.500000000000000001"))
    ledger.record("invoice_rejected", agreement="a2", amount=Decimal(7), reason="too much")
    assert ledger.spent() == Decimal("0.500000000000000001")


def test_nothing_is_owed_where_all_that_came_was_rejected(ledger: Ledger) -> None:
    def task(agreement: str, job: str, *, ok: bool = True) -> None:
        ledger.record("task", agreement=agreement, job=job, ok=ok)

    def reject(agreement: str, job: str, reason: str) -> None:
        ledger.record("rejected", agreement=agreement, job=job, reason=reason)

    task("honest", "j1")
    task("failing", "j2", ok=False)
    task("lying", "j3")
    assert [ledger.worthless(agreement) for agreement in ("honest", "failing", "lying", "unknown")] == [None] * 4
    reject("lying", "j3", "the update is zero")
    assert ledger.worthless("lying") == "the update is zero"
    assert ledger.worthless("honest") is None
    reject("failing", "j2", "its result is no JSON")  # the failed task's result was junk
    assert ledger.worthless("failing") == "its result is no JSON"
    task("lying", "j4")  # something of use: Golem knows no partial payment
    assert ledger.worthless("lying") is None


def test_a_rejected_invoice_costs_what_was_accepted_before(ledger: Ledger) -> None:
    ledger.record("agreement", agreement="a1", provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    ledger.record("debit_note", agreement="a1", activity="x", amount=Decimal("0.1"))
    ledger.record("invoice_rejected", agreement="a1", amount=Decimal("0.3"), reason="nothing was of use")
    assert ledger.open_agreements() == []
    assert ledger.spent() == Decimal("0.1")


def test_an_agreement_is_open_until_its_bill_is_decided_on(ledger: Ledger) -> None:
    for agreement in ("running", "paid", "refused", "ended"):
        ledger.record("agreement", agreement=agreement, provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    ledger.record("invoice", agreement="paid", amount=Decimal(1))
    ledger.record("invoice_rejected", agreement="refused", amount=Decimal(9), reason="too much")
    ledger.record("agreement_ended", agreement="ended")
    assert [entry["agreement"] for entry in ledger.open_agreements()] == ["running"]


def test_receipts_count_agreements_and_finished_tasks_by_provider(ledger: Ledger) -> None:
    ledger.record("agreement", agreement="a1", provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    ledger.record("agreement", agreement="a2", provider="0x2", name="calm-owl", price="0 0 0", threads=1)
    ledger.record("agreement", agreement="a3", provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    ledger.record("task", agreement="a1", job="j1", ok=True)
    ledger.record("task", agreement="a3", job="j2", ok=True)
    ledger.record("task", agreement="a3", job="j3", ok=False)
    ledger.record("invoice", agreement="a3", amount=Decimal("1.5"))
    first, second = ledger.receipts()
    assert (first.name, first.agreements, first.tasks, first.paid_glm) == ("bold-fox", 2, 2, Decimal("1.5"))
    assert (second.name, second.agreements, second.tasks, second.paid_glm) == ("calm-owl", 1, 0, 0)


def test_allocations_that_were_never_released_are_found(ledger: Ledger) -> None:
    ledger.record("allocation", id="one", amount=Decimal(2))
    ledger.record("allocation_released", id="one")
    ledger.record("allocation", id="two", amount=Decimal(2))
    assert ledger.open_allocations() == ["two"]


def test_a_line_torn_by_a_power_cut_is_left_out_but_damage_elsewhere_is_reported(ledger: Ledger) -> None:
    ledger.record("allocation", id="one", amount=Decimal(2))
    with ledger.path.open("a") as file:
        file.write('{"event": "allocation_rel')
    assert ledger.open_allocations() == ["one"]
    ledger.record("allocation_released", id="one")  # this entry begins on a line of its own
    assert ledger.open_allocations() == []
    ledger.path.write_text("damaged\n" + ledger.path.read_text())
    with pytest.raises(RunFolderError, match=r"ledger.jsonl, line 1"):
        list(ledger.entries())
