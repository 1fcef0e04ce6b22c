import pytest

from requestor.terminal.run_progress import seconds_left


def test_nothing_is_said_before_the_first_step() -> None:
    assert seconds_left(done=0, left=4, at_once=3, elapsed=0, since_last=100) is None


@pytest.mark.parametrize(
    ("done", "left", "at_once", "expected"),
    [
        (1, 3, 1, 30),  # one after another, ten seconds each
        (1, 2, 3, 10 * 2 / 3),  # all at once: the others will end soon
        (3, 6, 3, 20),  # in two more groups
        (1, 1, 8, 5),  # not more at once than there are
    ],
)
def test_the_rest_takes_as_long_as_what_was_done(done: int, left: int, at_once: int, expected: float) -> None:
    assert seconds_left(done, left, at_once, elapsed=10, since_last=0) == pytest.approx(expected)


def test_time_that_passes_is_taken_off_and_is_never_negative() -> None:
    assert seconds_left(1, 3, 1, elapsed=10, since_last=12) == 18
    assert seconds_left(1, 3, 1, elapsed=10, since_last=100) == 0
