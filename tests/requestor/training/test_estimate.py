from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.golem.market import Offer
from requestor.money.accounts import EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, Accounts
from requestor.money.amounts import Price
from requestor.records.ledger import Ledger
from requestor.training.estimate import Assumptions, Sizes, as_json, estimate_stages, for_people, least_budget
from requestor.training.strategies import STRATEGIES

ROUND_NUMBERS = Assumptions(
    images_a_core_second=10,
    tuned_images_a_core_second=2,
    job_seconds=5,
    uplink=1000,
    downlink=4000,
    photo_bytes=100,
    threads=2,
    price=Price(start=Decimal(1), wall_second=Decimal("0.1"), cpu_second=Decimal("0.01")),
)


SIZES = Sizes(base=1000, update=100, features=20)


def test_rounds_by_hand() -> None:
    sending, rounds, evaluation = estimate_stages(600, 60, STRATEGIES["federate"], 4, 3, SIZES, ROUND_NUMBERS)
    assert sending.sent == 600 * 100 + 3 * 1000
    assert sending.seconds == pytest.approx(63)
    assert sending.glm == Decimal(3) * 1 + 3 * 63 * Decimal("0.1")  # for the start, and for waiting
    computing = 4 * 5 + 4 * 600 / 3 / 10 / 2
    assert rounds.sent == rounds.received == 4 * 3 * 100
    assert rounds.seconds == pytest.approx(1.2 + 0.3 + computing)
    assert float(rounds.glm) == pytest.approx(3 * (1.5 + computing) * 0.1 + 3 * computing * 2 * 0.01)
    assert evaluation.sent == 60 * 100 + 3 * 1000


def test_embedding_and_tuning_by_hand() -> None:
    sending, embedding, rounds, evaluation = estimate_stages(
        6000, 60, STRATEGIES["fine-tune"], 2, 3, SIZES, ROUND_NUMBERS
    )
    assert (embedding.sent, embedding.received) == (0, 6000 * 20)
    computing = 4 * 5 + 6000 / 3 / 10 / 2  # 2000 photos per provider are four shards
    assert embedding.seconds == pytest.approx(30 + computing)
    assert rounds.seconds == pytest.approx(0.6 + 0.15 + 2 * 5 + 2 * 6000 / 3 / 2 / 2)
    # The bytes sent before and after do not depend on the strategy.
    assert [sending, embedding, evaluation] == estimate_stages(
        6000, 60, STRATEGIES["embed"], 0, 3, SIZES, ROUND_NUMBERS
    )


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(1, 100), st.sampled_from(["federate", "fine-tune"]))
def test_more_of_anything_never_costs_less(images: int, rounds: int, workers: int, strategy: str) -> None:
    def cost(images: int, rounds: int) -> Decimal:
        stages = estimate_stages(images, 100, STRATEGIES[strategy], rounds, workers, SIZES, Assumptions())
        return sum((stage.glm for stage in stages), Decimal(0))

    assert cost(images, rounds) <= cost(images + 1000, rounds)
    assert cost(images, rounds) <= cost(images, rounds + 1)


def test_a_budget_that_is_too_small_is_said_to_be() -> None:
    stages = estimate_stages(600, 60, STRATEGIES["federate"], 4, 3, SIZES, ROUND_NUMBERS)
    federate = STRATEGIES["federate"]
    assert "does not fit" in for_people(stages, ROUND_NUMBERS, Decimal("0.001"), federate, 3)[-1]
    assert "does not fit" not in for_people(stages, ROUND_NUMBERS, Decimal(10**6), federate, 3)[-1]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_what_is_known_of_the_model_is_said(name: str) -> None:
    strategy = STRATEGIES[name]
    stages = estimate_stages(600, 60, strategy, strategy.rounds, 3, SIZES, ROUND_NUMBERS)
    known = as_json(stages, ROUND_NUMBERS, strategy)["srcc"]
    said = "\n".join(for_people(stages, ROUND_NUMBERS, Decimal(2), strategy, 3))
    assert f"tiny-AVA this strategy reached a test SRCC of {known['measured_on_tiny_ava']:.3f}" in said
    assert all(f"{one['srcc']:.3f} of {one['of']}" in said for one in known["published_on_ava"])


def test_the_cheapest_offers_make_the_price() -> None:
    def offer(name: str, cpu_second: str, threads: int) -> Offer:
        return Offer(name, name, threads, 8.0, Price(Decimal(1), Decimal("0.2"), Decimal(cpu_second)))

    offers = [offer("dear", "9", 2), offer("cheap", "0.1", 2), offer("fair", "0.3", 4)]
    assumptions = Assumptions().at_market(offers, 2, "offers here")
    assert assumptions.price == Price(Decimal(1), Decimal("0.2"), Decimal("0.2"))
    assert assumptions.threads == 3
    assert assumptions.priced_by == "the 2 cheapest of 3 offers here"


def test_the_least_budget_is_the_least_with_which_all_are_given_a_task(tmp_path: Path) -> None:
    price, threads = ROUND_NUMBERS.price, ROUND_NUMBERS.threads
    for budget, enough in ((least_budget(3, ROUND_NUMBERS), True), (least_budget(3, ROUND_NUMBERS) - 1, False)):
        accounts = Accounts(budget, Ledger(tmp_path / f"{enough}.jsonl"), lambda: 0.0)
        for name in "abc":
            accounts.hire(name, price, threads)
            accounts.open(f"activity-{name}", name)
        promised = [
            accounts.promise(f"activity-{name}", "job", SHORTEST_ATTEMPT_SECONDS, EVALUATION_RESERVE) for name in "abc"
        ]
        assert all(promised) == enough
