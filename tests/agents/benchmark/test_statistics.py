"""Statistics of a comparison: known values, and what must hold for any returns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.benchmark.statistics import (
    bootstrap_interval,
    bootstrap_p,
    gap_closed,
    interquartile_mean,
    probability_of_improvement,
)

Floats = npt.NDArray[np.float64]
RETURNS = arrays(np.float64, st.integers(1, 9), elements=st.integers(-20, 20).map(float))


def test_interquartile_mean_of_known_runs() -> None:
    """Of 5 runs 3 count, of 8 runs 4, of 3 runs all."""
    assert interquartile_mean(np.array([100.0, 2.0, 3.0, 4.0, -50.0])) == 3.0
    assert interquartile_mean(np.array([9.0, 1, 2, 3, 4, 5, 8, 7])) == (3 + 4 + 5 + 7) / 4
    assert interquartile_mean(np.array([1.0, 2.0, 6.0])) == 3.0
    rows = np.array([[0.0, 1, 2, 3, 4], [5.0, 5, 5, 5, 99]])
    assert interquartile_mean(rows).tolist() == [2.0, 5.0]


@given(RETURNS)
def test_interquartile_mean_lies_between_least_and_greatest(returns: Floats) -> None:
    found = float(interquartile_mean(returns))

    assert returns.min() - 1e-9 <= found <= returns.max() + 1e-9


def test_probability_of_improvement_of_known_runs() -> None:
    """Of the 6 pairs X wins 3 and ties 1."""
    found = probability_of_improvement(np.array([1.0, 3.0, 5.0]), np.array([1.0, 4.0]))

    assert found == pytest.approx(3.5 / 6)


@given(RETURNS, RETURNS)
def test_probabilities_of_improvement_sum_to_one(x: Floats, y: Floats) -> None:
    both = probability_of_improvement(x, y) + probability_of_improvement(y, x)

    assert both == pytest.approx(1.0)


@given(st.floats(-9, 9), st.floats(0.1, 9), st.floats(-9, 9))
def test_gap_closed_is_0_at_the_reference_and_1_at_the_bound(
    low: float, gap: float, agent: float
) -> None:
    three = np.array([low, low + gap, agent])

    found = gap_closed(three, np.array(low), np.array(low + gap))

    assert found[:2] == pytest.approx([0.0, 1.0])
    assert found[2] == pytest.approx((agent - low) / gap, rel=1e-6, abs=1e-6)


def test_there_is_no_gap_to_close_below_the_reference() -> None:
    assert np.isnan(gap_closed(np.array([1.0]), np.array([2.0]), np.array([2.0]))).all()


def test_interval_holds_the_middle_95_percent() -> None:
    assert bootstrap_interval(np.arange(1001.0)) == (25.0, 975.0)


def test_interval_is_none_where_a_replicate_has_no_value() -> None:
    assert bootstrap_interval(np.array([1.0, np.nan, 2.0])) is None


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([-1.0, 1.0, 2.0, 3.0], 0.5),  # twice a quarter
        ([1.0, -1.0, -2.0, -3.0], 0.5),
        ([1.0] * 9, 0.1),  # never seen in 9 replicates
        ([0.0] * 4, 1.0),
    ],
)
def test_p_value_of_known_replicates(differences: list[float], expected: float) -> None:
    assert bootstrap_p(np.array(differences)) == pytest.approx(expected)
