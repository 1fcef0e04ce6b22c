import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requestor.money.accounts import BILLING_SLACK, EVALUATION_RESERVE, FAREWELL, SHORTEST_ATTEMPT_SECONDS, Accounts
from requestor.money.amounts import METERING_SLACK, Price
from requestor.records.ledger import Ledger

WALL_ONLY = Price(start=Decimal(0), wall_second=Decimal("0.01"), cpu_second=Decimal(0))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def accounts_with(budget: str, folder: Path, clock: Clock) -> Accounts:
    return Accounts(Decimal(budget), Ledger(folder / "ledger.jsonl"), clock)


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    return accounts_with("10", tmp_path, clock)


def hire(accounts: Accounts, name: str, price: Price = WALL_ONLY, threads: int = 1) -> None:
    assert accounts.hire(f"agreement-{name}", price, threads)
    accounts.open(name, f"agreement-{name}")


def test_a_promise_counts_the_waiting_of_everybody_else(accounts: Accounts) -> None:
    hire(accounts, "a")
    hire(accounts, "b")
    most = 10 / 0.01 / 2 - BILLING_SLACK  # both bill for as long as the one works
    assert not accounts.promise("a", "job", most + 1)
    assert accounts.promise("a", "job", most - 1)
    assert not accounts.promise("b", "job", most + 1)


def test_a_refused_promise_changes_nothing(accounts: Accounts) -> None:
    hire(accounts, "a")
    before = accounts.committed
    assert not accounts.promise("a", "job", 1e6)
    assert accounts.committed == before


def test_training_leaves_the_reserve_to_the_evaluation(accounts: Accounts) -> None:
    hire(accounts, "a")
    everything = 10 / 0.01 - BILLING_SLACK
    assert not accounts.promise("a", "job", everything - 1, EVALUATION_RESERVE)
    assert accounts.promise("a", "job", everything - 1)


def test_threads_and_start_fee_are_in_the_worst_cost(accounts: Accounts) -> None:
    price = Price(start=Decimal(1), wall_second=Decimal("0.01"), cpu_second=Decimal("0.005"))
    hire(accounts, "a", price, threads=4)
    assert accounts.promise("a", "job", 250)
    assert accounts.allows("agreement-a", Decimal(1))
    assert not accounts.promise("a", "job", 290)  # 1 + 305 × 0.03 > 10


def test_waiting_ends_before_the_money_does(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 10 / 0.01 - BILLING_SLACK - FAREWELL - 1
    assert accounts.can_wait()
    clock.now += 2
    assert not accounts.can_wait()
    assert accounts.committed <= 10


def test_a_bill_beyond_what_time_and_price_allow_is_not_accepted(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 100
    accounts.close("a")
    clock.now += 1000  # time after its end is not billed
    most = Decimal("0.01") * Decimal(100 + BILLING_SLACK)
    assert accounts.allows("agreement-a", most)
    assert not accounts.allows("agreement-a", most + Decimal("1e-18"))
    assert not accounts.allows("agreement-a", Decimal(-1))
    assert not accounts.allows("agreement-of-somebody-else", Decimal("1e-18"))


def test_a_bill_for_work_that_was_all_rejected_is_not_accepted(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 100
    accounts.debit_note("agreement-a", "a", Decimal("0.2"))  # before the bill was known
    accounts.ledger.record("task", agreement="agreement-a", job="j1", ok=True)
    assert accounts.allows("agreement-a", Decimal("0.2"))
    accounts.ledger.record("rejected", agreement="agreement-a", job="j1", reason="the update is zero")
    assert not accounts.approve("agreement-a", Decimal("0.2"))
    accounts.close("a")
    accounts.reject_invoice("agreement-a", Decimal(1), "the update is zero")
    assert accounts.spent == accounts.committed == accounts.ledger.spent() == Decimal("0.2")


def test_usage_beyond_all_threads_and_the_time_is_too_dear(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 100
    most = Decimal("0.01") * Decimal(100 + BILLING_SLACK)
    accounts.report("a", most)
    assert accounts.too_dear("a") is None
    accounts.report("a", most + Decimal("0.01"))
    assert accounts.too_dear("a") == "it reports usage worth 1.16 GLM, where time and price allow 1.15 GLM"
    assert accounts.spent == most, "no more than that is believed"


def test_an_invoice_settles_its_agreement(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 100
    accounts.report("a", Decimal("0.9"))
    assert accounts.spent == Decimal("0.9")
    accounts.close("a")
    accounts.invoice("agreement-a", Decimal(1))
    assert accounts.spent == accounts.committed == 1


def test_what_earlier_sessions_of_the_run_spent_counts(tmp_path: Path, clock: Clock) -> None:
    first = accounts_with("10", tmp_path, clock)
    first.ledger.record("agreement", agreement="old", provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    first.invoice("old", Decimal(8))
    second = accounts_with("10", tmp_path, clock)
    hire(second, "a")
    assert second.spent == 8
    assert not second.promise("a", "job", 200)
    assert second.promise("a", "job", 150)


def test_nobody_is_hired_whose_start_does_not_fit(accounts: Accounts) -> None:
    price = Price(start=Decimal(4), wall_second=Decimal(0), cpu_second=Decimal(0))
    hire(accounts, "a", price)
    hire(accounts, "b", price)
    assert not accounts.hire("agreement-c", price, threads=1)
    assert accounts.committed == 8
    hired = [entry["agreement"] for entry in accounts.ledger.entries() if entry["event"] == "activity"]
    assert hired == ["agreement-a", "agreement-b"]


def test_hiring_counts_what_the_others_may_bill_meanwhile(accounts: Accounts) -> None:
    hire(accounts, "a")
    most = 10 / 0.01 - SHORTEST_ATTEMPT_SECONDS - 2 * BILLING_SLACK
    assert accounts.promise("a", "job", most + 1)
    assert not accounts.hire("agreement-b", WALL_ONLY, threads=1)


def test_who_has_reported_its_cost_may_not_bill_more_for_that_time(accounts: Accounts, clock: Clock) -> None:
    price = Price(start=Decimal(1), wall_second=Decimal(0), cpu_second=Decimal("0.01"))
    hire(accounts, "a", price)
    clock.now += 100
    assert accounts.allows("agreement-a", Decimal("2.15"))
    accounts.report("a", Decimal("1.2"))
    accounts.close("a")
    assert accounts.committed == Decimal("1.2") + Decimal("0.01") * Decimal(BILLING_SLACK) * (1 + METERING_SLACK)
    assert not accounts.allows("agreement-a", Decimal("2.15"))


@pytest.mark.parametrize(("overhead", "honest"), [("0.03", True), ("0.09", True), ("0.2", False)])
def test_a_vm_may_meter_a_little_more_than_its_threads(
    accounts: Accounts, clock: Clock, overhead: str, honest: bool
) -> None:
    price = Price(start=Decimal(0), wall_second=Decimal(0), cpu_second=Decimal("0.001"))
    hire(accounts, "a", price)
    clock.now += 900
    accounts.report("a", Decimal(900) * price.cpu_second * (1 + Decimal(overhead)))
    assert (accounts.too_dear("a") is None) == honest


@settings(max_examples=50)
@given(
    seconds=st.floats(0, 4 * 3600), threads=st.integers(1, 64), overhead=st.floats(0, 0.05),
    wall=st.integers(0, 5), cpu=st.integers(0, 5),
)  # fmt: skip
def test_an_honest_vm_that_is_always_busy_is_never_too_dear(
    seconds: float, threads: int, overhead: float, wall: int, cpu: int
) -> None:
    price = Price(start=Decimal("0.0001"), wall_second=Decimal(wall) / 10**6, cpu_second=Decimal(cpu) / 10**6)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        accounts = accounts_with("100", Path(folder), clock)
        hire(accounts, "a", price, threads)
        clock.now += seconds
        busy = Decimal(repr(seconds * threads * (1 + overhead)))
        cost = price.start + price.wall_second * Decimal(repr(seconds)) + price.cpu_second * busy
        accounts.report("a", cost)
        assert accounts.too_dear("a") is None
        accounts.close("a")
        assert accounts.allows("agreement-a", cost)


@pytest.mark.parametrize("claim", ["-5", "1e30", "Infinity"])
def test_a_report_that_cannot_be_true_is_worth_no_more_than_full_load(
    accounts: Accounts, clock: Clock, claim: str
) -> None:
    hire(accounts, "a")
    clock.now += 100
    accounts.report("a", Decimal(claim))
    assert 0 <= accounts.spent <= Decimal("0.01") * Decimal(100 + BILLING_SLACK)
    assert accounts.committed <= Decimal("0.01") * Decimal(100 + BILLING_SLACK)


def test_a_promise_is_on_disk_before_the_task_is_issued(accounts: Accounts) -> None:
    hire(accounts, "a")
    assert accounts.promise("a", "job-1", 100)
    entry = list(accounts.ledger.entries())[-1]
    assert (entry["event"], entry["job"], entry["seconds"]) == ("promise", "job-1", 100)
    assert Decimal(entry["committed"]) == Decimal("0.01") * Decimal(100 + BILLING_SLACK)


def test_an_invoice_that_was_approved_counts_before_it_is_accepted(tmp_path: Path, clock: Clock) -> None:
    accounts = accounts_with("3.5", tmp_path, clock)
    hire(accounts, "a")
    hire(accounts, "b")
    clock.now += 300
    assert accounts.approve("agreement-a", Decimal(3))
    assert not accounts.approve("agreement-b", Decimal(1))
    assert accounts.approve("agreement-b", Decimal("0.5"))


def test_an_approved_invoice_that_could_not_be_accepted_is_open_again(accounts: Accounts, clock: Clock) -> None:
    hire(accounts, "a")
    clock.now += 300
    before = accounts.committed
    assert accounts.approve("agreement-a", Decimal("0.01"))
    assert (accounts.accepted, accounts.committed) == (Decimal("0.01"), Decimal("0.01"))
    accounts.revoke("agreement-a")
    assert (accounts.accepted, accounts.committed) == (0, before)
    accounts.invoice("agreement-a", Decimal("0.02"))
    accounts.revoke("agreement-a")  # a later failure, for example of a debit note, changes nothing
    assert accounts.accepted == accounts.ledger.spent() == Decimal("0.02")
