from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requestor.budget import Price
from requestor.estimate import Assumptions, estimate, for_people

ROUND_NUMBERS = Assumptions(
    images_a_core_second=10,
    job_seconds=5,
    uplink=1000,
    photo_bytes=100,
    threads=2,
    price=Price(start=Decimal(1), wall_second=Decimal("0.1"), cpu_second=Decimal("0.01")),
)


def test_by_hand() -> None:
    sending, rounds, evaluation = estimate(600, 60, 4, 3, base_bytes=1000, update_bytes=100, assumptions=ROUND_NUMBERS)
    assert sending.sent == 600 * 100 + 3 * 1000
    assert sending.seconds == pytest.approx(63)
    assert sending.glm == Decimal(3) * 1 + 3 * 63 * Decimal("0.1")  # to start, and to wait
    computing = 4 * 5 + 4 * 600 / 3 / 10 / 2
    assert rounds.sent == 4 * 3 * 100
    assert rounds.seconds == pytest.approx(1.2 + computing)
    assert float(rounds.glm) == pytest.approx(3 * (1.2 + computing) * 0.1 + 3 * computing * 2 * 0.01)
    assert evaluation.sent == 60 * 100 + 3 * 1000


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(1, 100))
def test_more_of_anything_never_costs_less(images: int, rounds: int, workers: int) -> None:
    def cost(images: int, rounds: int) -> Decimal:
        return sum((s.glm for s in estimate(images, 100, rounds, workers, 9000, 500, Assumptions())), Decimal(0))

    assert cost(images, rounds) <= cost(images + 1000, rounds)
    assert cost(images, rounds) <= cost(images, rounds + 1)


def test_a_budget_that_is_too_small_is_said_to_be() -> None:
    stages = estimate(600, 60, 4, 3, 1000, 100, ROUND_NUMBERS)
    assert "does not fit" in for_people(stages, ROUND_NUMBERS, Decimal("0.001"))[-1]
    assert "does not fit" not in for_people(stages, ROUND_NUMBERS, Decimal(10**6))[-1]
