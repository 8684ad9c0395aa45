"""Scores of single-call routing: known values and invariants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.benchmark.routing_scores import gap_recovered, improvement_in_quality, quality_hull
from orchestai_env.errors import DataError

POINTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.integers(0, 9))


def test_improvement_in_quality_of_known_points() -> None:
    """Between costs 1 and 3 the line from 0.5 to 0.9 has mean 0.7; a point below adds nothing."""
    cost, quality = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.9])

    assert improvement_in_quality(cost, quality, least=1, most=3) == pytest.approx(0.7)
    assert improvement_in_quality(cost, quality, least=3, most=5) == pytest.approx(0.9)
    assert improvement_in_quality(cost[:1], quality[:1], least=0, most=1) == pytest.approx(0.25)


def test_hull_holds_the_better_quality_of_costlier_points_that_are_worse() -> None:
    hull = quality_hull(np.array([0.0, 2.0, 3.0]), np.array([0.5, 0.6, 0.4]))

    assert hull.tolist() == [[0.0, 0.5], [2.0, 0.6]]


@given(POINTS)
def test_hull_is_above_all_points_and_concave(points: npt.NDArray[np.float64]) -> None:
    hull = quality_hull(points[:, 0], points[:, 1])

    assert (np.interp(points[:, 0], *hull.T) >= points[:, 1] - 1e-9).all()
    slopes = np.diff(hull[:, 1]) / np.diff(hull[:, 0])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 1e-9).all()


@given(POINTS)
def test_quality_lies_between_that_of_the_ends(points: npt.NDArray[np.float64]) -> None:
    found = improvement_in_quality(points[:, 0], points[:, 1], least=0.0, most=9.0)

    assert 0 <= found <= points[:, 1].max()


@pytest.mark.parametrize(("count", "most"), [(0, 1.0), (2, 0.0)])
def test_no_points_or_no_range_is_refused(count: int, most: float) -> None:
    with pytest.raises(DataError, match="expected points and a range of costs"):
        improvement_in_quality(np.ones(count), np.ones(count), least=0.0, most=most)


def test_gap_recovered_by_a_perfect_and_by_the_worst_order() -> None:
    weak, strong = np.array([1.0, 0.0, 0.0, 1.0]), np.ones(4)

    assert gap_recovered(strong - weak, weak, strong) == pytest.approx(0.75)
    assert gap_recovered(weak - strong, weak, strong) == pytest.approx(0.25)
    assert gap_recovered(np.zeros(4), weak, strong) == pytest.approx(0.5)


def test_workers_without_a_gap_are_refused() -> None:
    with pytest.raises(DataError, match="expected a gap between them, got none over 3 queries"):
        gap_recovered(np.arange(3.0), np.ones(3), np.ones(3))
