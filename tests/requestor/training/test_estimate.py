from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nima.model.backbones import BACKBONES
from requestor.golem.market import Offer
from requestor.money.accounts import BILLING_SLACK, EVALUATION_RESERVE, SHORTEST_ATTEMPT_SECONDS, Accounts
from requestor.money.amounts import Price
from requestor.planning.attempt_time import attempt_times
from requestor.planning.speeds import JOB_CORE_SECONDS, speed_of
from requestor.planning.stages import RunSize, round_tasks
from requestor.records.ledger import Ledger
from requestor.training.assumptions import Assumptions
from requestor.training.estimate import Estimate, estimate, estimate_lines, least_budget
from requestor.training.strategies import STRATEGIES

ROUND_NUMBERS = Assumptions(
    uplink=1000,
    downlink=4000,
    photo_bytes=100,
    threads=2,
    price=Price(start=Decimal(1), wall_second=Decimal("0.1"), cpu_second=Decimal("0.01")),
)
SMALL = RunSize(600, 60, 3, "mobilenet_v2", 3, photo=100, base=1000, weights=100, update=100, features=20)
PLENTY = Decimal(10**9)


def estimated(
    name: str, run: RunSize = SMALL, budget: Decimal = PLENTY, assumptions: Assumptions = ROUND_NUMBERS
) -> Estimate:
    return estimate(run, STRATEGIES[name], STRATEGIES[name].rounds, budget, assumptions)


def test_an_embedding_by_hand() -> None:
    embed, evaluation = estimated("embed").stages
    assert (embed.tasks, embed.sent, embed.received) == (3, 600 * 100 + 3 * 1000, 600 * 20)
    computing = 200 / speed_of("mobilenet_v2").frozen
    # The last provider has its files after 63 s, then it computes on two threads, and sends its features.
    seconds = 63 + JOB_CORE_SECONDS + computing / 2 + 200 * 20 / 4000
    assert embed.seconds == pytest.approx(seconds)
    cpu = 3 * (JOB_CORE_SECONDS + computing)
    assert float(embed.glm) == pytest.approx(3 * 1 + 3 * seconds * 0.1 + cpu * 0.01)
    assert evaluation.sent == 60 * 100 + 3 * 1000


def test_further_rounds_send_the_weights_only() -> None:
    embed, first, later, _ = estimated("fine-tune").stages
    assert (first.sent, first.received, first.times) == (300, 300, 1)
    assert (later.sent, later.received, later.times) == (300, 300, 1)
    assert embed == estimated("embed").stages[0]
    found = estimated("federate")
    assert [stage.times for stage in found.stages] == [1, 3, 1]
    assert found.stages[0].sent == 600 * 100 + 3 * (1000 + 100)
    assert found.glm == sum((stage.times * stage.glm for stage in found.stages), Decimal(0))


budgets = st.decimals(Decimal("0.0001"), Decimal(1000), allow_nan=False, allow_infinity=False, places=4)


@settings(max_examples=60)
@given(
    st.integers(20, 300_000), st.integers(1, 100), st.sampled_from(list(BACKBONES)), budgets,
    st.sampled_from(["auto", "federate", "fine-tune"]),
)  # fmt: skip
def test_all_rounds_that_the_budget_covers_can_be_promised(
    images: int, workers: int, backbone: str, budget: Decimal, strategy: str
) -> None:
    """Before each round, enough is left for the shortest attempts of all providers, and for the evaluation."""
    assume(images >= workers)
    run = replace(SMALL, train_images=images, workers=workers, backbone=backbone, blocks=STRATEGIES[strategy].blocks)
    found = estimate(run, STRATEGIES[strategy], None, budget, Assumptions())
    rounds = [stage for stage in found.stages if "round" in stage.name]
    spent = sum((stage.glm for stage in found.stages if stage.name == "embed"), Decimal(0))
    for number in range(min(found.affordable, 5)):
        stage = rounds[min(number, len(rounds) - 1)]
        *_, shortest = attempt_times(False, max(t.sent for t in round_tasks(run, number, True)), 1e9, 0.0)
        at_least = Assumptions().price.at_most(shortest.whole + BILLING_SLACK, Assumptions().threads)
        assert spent + workers * at_least <= budget * (1 - EVALUATION_RESERVE)
        spent += stage.glm
    if found.affordable:
        last = rounds[-1] if found.affordable > 1 else rounds[0]
        total = spent + max(0, found.affordable - 5) * last.glm
        assert total <= budget * (1 - EVALUATION_RESERVE) + Decimal("1e-9")


@settings(max_examples=20)
@given(st.integers(20, 10**6), st.integers(1, 20), st.sampled_from(["federate", "fine-tune"]))
def test_another_round_never_costs_less(images: int, workers: int, strategy: str) -> None:
    run = replace(SMALL, train_images=images, workers=workers, blocks=STRATEGIES[strategy].blocks)
    costs = [
        estimate(run, STRATEGIES[strategy], rounds, PLENTY, Assumptions()).glm for rounds in (1, 2, 5)
    ]  # fmt: skip
    assert costs == sorted(costs)


def test_the_work_of_a_round_does_not_grow_with_the_photos() -> None:
    few, many = (
        estimated("fine-tune", replace(SMALL, train_images=images), assumptions=Assumptions()).stages[2]
        for images in (60_000, 600_000)
    )
    assert many.seconds == pytest.approx(few.seconds, rel=0.2)


def test_rounds_without_a_fixed_number_end_with_the_money_or_the_time() -> None:
    auto = STRATEGIES["auto"]
    plenty = estimate(SMALL, auto, None, PLENTY, ROUND_NUMBERS)
    assert plenty.affordable == 1000
    before, first, later = (plenty.stages[index].glm for index in range(3))
    promised = plenty.stages[2].promised
    budget = (before + first + later + max(later, promised)) / (1 - EVALUATION_RESERVE)
    assert estimate(SMALL, auto, None, budget * Decimal("1.001"), ROUND_NUMBERS).affordable == 3
    assert estimate(SMALL, auto, None, budget * Decimal("0.999"), ROUND_NUMBERS).affordable == 2
    hours = (sum(stage.seconds for stage in plenty.stages[:3]) + plenty.stages[2].seconds + 1) / 3600
    assert estimate(SMALL, auto, None, PLENTY, ROUND_NUMBERS, hours).affordable == 3


def test_a_budget_that_is_too_small_is_said_to_be() -> None:
    assert "does not fit" in estimate_lines(estimated("federate", budget=Decimal("0.001")), Decimal("0.001"))[-1]
    assert "does not fit" not in estimate_lines(estimated("federate"), PLENTY)[-1]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_what_is_known_of_the_model_is_said(name: str) -> None:
    found = estimated(name)
    known = found.as_json()["srcc"]
    said = "\n".join(estimate_lines(found, Decimal(2)))
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


def test_the_least_budget_is_the_least_with_which_all_are_hired_and_given_a_task(tmp_path: Path) -> None:
    price, threads = ROUND_NUMBERS.price, ROUND_NUMBERS.threads
    least = least_budget(estimated("embed"))
    for budget, enough in ((least, True), (least - 1, False)):
        accounts = Accounts(budget, Ledger(tmp_path / f"{enough}.jsonl"), lambda: 0.0)
        for name in "abc":
            accounts.hire(name, price, threads)
            accounts.open(f"activity-{name}", name)
        promised = [
            accounts.promise(f"activity-{name}", "job", SHORTEST_ATTEMPT_SECONDS, EVALUATION_RESERVE) for name in "abc"
        ]
        assert all(promised) == enough
