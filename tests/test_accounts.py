import random
from decimal import Decimal
from pathlib import Path

import pytest

from requestor.accounts import BILLING_SLACK, FAREWELL, RESERVE, Accounts
from requestor.budget import Price
from requestor.ledger import Ledger

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


def test_a_promise_counts_the_waiting_of_everybody_else(accounts: Accounts) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    accounts.open("b", "agreement-b", WALL_ONLY, threads=1)
    most = 10 / 0.01 / 2 - BILLING_SLACK  # both bill for as long as the one works
    assert not accounts.promise("a", most + 1)
    assert accounts.promise("a", most - 1)
    assert not accounts.promise("b", most + 1)


def test_a_refused_promise_changes_nothing(accounts: Accounts) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    before = accounts.committed
    assert not accounts.promise("a", 1e6)
    assert accounts.committed == before


def test_training_leaves_the_reserve_to_the_evaluation(accounts: Accounts) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    everything = 10 / 0.01 - BILLING_SLACK
    assert not accounts.promise("a", everything - 1, RESERVE)
    assert accounts.promise("a", everything - 1)


def test_threads_and_start_fee_are_in_the_worst_cost(accounts: Accounts) -> None:
    price = Price(start=Decimal(1), wall_second=Decimal("0.01"), cpu_second=Decimal("0.02"))
    accounts.open("a", "agreement-a", price, threads=4)
    assert accounts.promise("a", 50)
    assert accounts.accepted_amount("agreement-a", Decimal(1)) == 1
    assert not accounts.promise("a", 100)  # 1 + 115 × 0.09 > 10


def test_waiting_ends_before_the_money_does(accounts: Accounts, clock: Clock) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    clock.now += 10 / 0.01 - BILLING_SLACK - FAREWELL - 1
    assert accounts.can_wait()
    clock.now += 2
    assert not accounts.can_wait()
    assert accounts.committed <= 10


def test_a_bill_beyond_what_time_and_price_allow_is_not_accepted(accounts: Accounts, clock: Clock) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    clock.now += 100
    accounts.close("a")
    clock.now += 1000  # what happens after its end is not billed
    most = Decimal("0.01") * Decimal(100 + BILLING_SLACK)
    assert accounts.accepted_amount("agreement-a", most) == most
    assert accounts.accepted_amount("agreement-a", most + Decimal("1e-18")) == 0
    assert accounts.accepted_amount("agreement-a", Decimal(-1)) == 0
    assert accounts.accepted_amount("agreement-of-somebody-else", Decimal("1e-18")) == 0


def test_a_bill_for_work_that_was_all_rejected_is_not_accepted(accounts: Accounts, clock: Clock) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    clock.now += 100
    accounts.debit_note("agreement-a", "a", Decimal("0.2"))  # before anybody knew
    accounts.ledger.record("task", agreement="agreement-a", job="j1", ok=True)
    assert accounts.accepted_amount("agreement-a", Decimal(1)) == 1
    accounts.ledger.record("rejected", agreement="agreement-a", job="j1", reason="the update is zero")
    assert accounts.accepted_amount("agreement-a", Decimal(1)) == 0
    accounts.close("a")
    accounts.reject_invoice("agreement-a", Decimal(1), "the update is zero")
    assert accounts.spent == accounts.committed == accounts.ledger.spent() == Decimal("0.2")


def test_usage_beyond_all_threads_and_the_time_is_too_dear(accounts: Accounts, clock: Clock) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    clock.now += 100
    most = Decimal("0.01") * Decimal(100 + BILLING_SLACK)
    assert accounts.report("a", Decimal(1)) == 1
    assert accounts.report("a", most) == most - 1
    assert accounts.too_dear("a") is None
    accounts.report("a", most + Decimal("0.01"))
    assert accounts.too_dear("a") == "it reports usage worth 1.16 GLM, where time and price allow 1.15 GLM"


def test_an_invoice_settles_its_agreement(accounts: Accounts, clock: Clock) -> None:
    accounts.open("a", "agreement-a", WALL_ONLY, threads=1)
    clock.now += 100
    accounts.report("a", Decimal("0.9"))
    assert accounts.spent == Decimal("0.9")
    accounts.close("a")
    accounts.invoice("agreement-a", Decimal(1))
    assert accounts.spent == accounts.committed == 1


def test_what_earlier_sessions_of_the_run_spent_counts(tmp_path: Path, clock: Clock) -> None:
    first = accounts_with("10", tmp_path, clock)
    first.ledger.record("agreement", agreement="old", provider="0x1", name="bold-fox", price="0 0 0", threads=1)
    first.invoice("old", Decimal(9))
    second = accounts_with("10", tmp_path, clock)
    second.open("a", "new", WALL_ONLY, threads=1)
    assert second.spent == 9
    assert not second.promise("a", 100)
    assert second.promise("a", 50)


@pytest.mark.parametrize("seed", range(200))
def test_no_simulated_run_pays_more_than_its_budget(seed: int, tmp_path: Path, clock: Clock) -> None:
    """Random prices, crashes, overruns, waiting and dishonest bills, in a random order."""
    dice = random.Random(seed)
    accounts = accounts_with(str(dice.choice([0.05, 0.5, 2, 10])), tmp_path, clock)
    paid: dict[str, Decimal] = {}
    alive: dict[str, tuple[str, Price, int, float]] = {}
    hired = 0

    def bill(agreement: str, price: Price, threads: int, seconds: float) -> None:
        honest = price.at_full_load(seconds, threads) * Decimal(str(round(dice.random(), 3)))
        amount = honest * dice.choice([1, 1, 1, 3, 100])
        if accounts.accepted_amount(agreement, amount) >= amount:
            paid[agreement] = amount
            accounts.invoice(agreement, amount)

    for _ in range(dice.randint(5, 60)):
        move = dice.random()
        if move < 0.3 and len(alive) < 8 and accounts.can_wait():
            hired += 1
            price = Price(
                *(Decimal(str(dice.choice([0, round(dice.uniform(0, top), 6)]))) for top in (0.01, 0.001, 0.0005))
            )
            threads = dice.choice([1, 4, 32])
            agreement = f"agreement-{hired}"
            accounts.ledger.record(
                "agreement", agreement=agreement, provider=f"0x{hired}", name=f"p{hired}", price="0 0 0", threads=1
            )
            accounts.open(f"activity-{hired}", agreement, price, threads)
            alive[f"activity-{hired}"] = (agreement, price, threads, clock.now)
        elif move < 0.7 and alive:
            activity = dice.choice(sorted(alive))
            seconds = dice.choice([60.0, 300.0, 900.0])
            if accounts.promise(activity, seconds, dice.choice([RESERVE, Decimal(0)])):
                assert accounts.committed <= accounts.budget
                clock.now += dice.uniform(0, seconds)
                accounts.rest(activity)
        elif move < 0.85:
            for _ in range(dice.randint(1, 20)):  # waiting, looked at once a second
                clock.now += 1
                if not accounts.can_wait():
                    break
        elif alive:
            activity = dice.choice(sorted(alive))
            agreement, price, threads, started = alive.pop(activity)
            accounts.close(activity)
            bill(agreement, price, threads, clock.now - started)
    for activity, (agreement, price, threads, started) in alive.items():
        accounts.close(activity)
        bill(agreement, price, threads, clock.now - started)

    assert sum(paid.values(), Decimal(0)) <= accounts.budget
    assert accounts.ledger.spent() == sum(paid.values(), Decimal(0)) == accounts.spent
