"""The server's use of the combined update: computed by hand, over rounds, and after a stop in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from requestor.errors import RunFolderError
from requestor.training.rounds.server_optimizer import (
    State,
    adam,
    load_server_state,
    momentum,
    plain,
    save_server_state,
    yogi,
)

deltas = st.lists(hnp.arrays(np.float64, 3, elements=st.floats(-10, 10)), min_size=2, max_size=6)
OPTIMISERS = [plain, momentum, adam, yogi]


def test_momentum_by_hand() -> None:
    first, state = momentum(np.array([1.0, -2.0]), {})
    second, _ = momentum(np.array([4.0, 0.0]), state)
    assert first.tolist() == [1.0, -2.0]
    assert second.tolist() == [4.5, -1.0]


def test_adam_by_hand() -> None:
    step, state = adam(np.array([0.01]), {})
    # m = 0.1 · 0.01; v = 0.99 · τ² + 0.01 · 0.01², with τ = 10⁻³
    variance = 0.99e-6 + 1e-6
    np.testing.assert_allclose(state["variance"], [variance], rtol=1e-12)
    np.testing.assert_allclose(step, [0.01 * 0.001 / (variance**0.5 + 1e-3)], rtol=1e-12)


def test_yogi_by_hand() -> None:
    step, state = yogi(np.array([0.01]), {})
    variance = 1e-6 + 0.01 * 1e-4  # grows, as Δ² = 10⁻⁴ is above v = τ² = 10⁻⁶
    np.testing.assert_allclose(state["variance"], [variance], rtol=1e-12)
    np.testing.assert_allclose(step, [0.01 * 0.001 / (variance**0.5 + 1e-3)], rtol=1e-12)
    _, state = yogi(np.array([0.0001]), {})
    np.testing.assert_allclose(state["variance"], [1e-6 - 0.01 * 1e-8], rtol=1e-12)


@pytest.mark.parametrize("optimiser", [adam, yogi])
@given(deltas)
def test_the_variance_stays_positive(optimiser, rounds: list[NDArray[np.float64]]) -> None:
    state: State = {}
    for delta in rounds:
        step, state = optimiser(delta, state)
        assert (state["variance"] > 0).all()
        assert np.isfinite(step).all()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@given(rounds=deltas, stop=st.integers(0, 5))
def test_a_resumed_run_steps_as_one_that_never_stopped(
    optimiser, rounds: list[NDArray[np.float64]], stop: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "server.safetensors"
    state: State = {}
    resumed: State = {}
    for number, delta in enumerate(rounds):
        if number == stop:
            save_server_state(path, resumed)
            resumed = load_server_state(path)
        step, state = optimiser(delta, state)
        again, resumed = optimiser(delta, resumed)
        assert step.tolist() == again.tolist()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_no_state_is_changed_in_place(optimiser) -> None:
    _, state = optimiser(np.ones(2), {})
    before = {name: values.copy() for name, values in state.items()}
    optimiser(np.full(2, 7.0), state)
    assert all((state[name] == values).all() for name, values in before.items())


def test_a_damaged_state_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "server.safetensors"
    path.write_bytes(b"half a file")
    with pytest.raises(RunFolderError, match=r"server\.safetensors is damaged"):
        load_server_state(path)


def test_the_first_round_begins_without_a_state(tmp_path: Path) -> None:
    assert load_server_state(tmp_path / "0000.server.safetensors") == {}
