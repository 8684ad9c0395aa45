"""Intervals: around their mean, as wide as rows and seeds differ, and as sure as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from supervised.intervals import bootstrap, mean_intervals


def test_interval_has_the_mean_in_it_and_shrinks_with_rows() -> None:
    values = np.random.default_rng(0).random((3, 400, 1))

    (few,), (many,) = mean_intervals(values[:, :25]), mean_intervals(values)

    assert many.low < many.mean < many.high
    assert many.mean == pytest.approx(values.mean())
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = [mean_intervals(rng.exponential(1.0, (1, 60, 1)))[0] for _ in range(200)]

    covered = np.mean([interval.low <= 1.0 <= interval.high for interval in samples])
    assert 0.88 <= covered <= 0.99


def test_interval_holds_the_spread_between_seeds() -> None:
    values = np.zeros((3, 50, 1)) + np.array([0.1, 0.2, 0.3])[:, None, None]

    (interval,) = mean_intervals(values)

    assert (interval.low, interval.mean, interval.high) == pytest.approx((0.1, 0.2, 0.3))


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 9), st.just(2)),
        elements=st.floats(0, 1),
    )
)
def test_intervals_stay_within_the_values(values: np.ndarray) -> None:
    for index, interval in enumerate(mean_intervals(values)):
        own = values[..., index]
        assert own.min() - 1e-9 <= interval.low <= interval.high <= own.max() + 1e-9


def test_bootstrap_draws_queries_and_seeds() -> None:
    values = np.random.default_rng(0).normal(size=1000)

    found = bootstrap(lambda rows, seed: float(values[rows].mean()) + seed, 1000, 2)

    assert found.mean == pytest.approx(values.mean() + 0.5)
    assert found.low < values.mean() < values.mean() + 1 < found.high
