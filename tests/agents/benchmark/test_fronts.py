"""Fronts and hypervolumes over success, cost and makespan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.benchmark.fronts import hypervolume, pareto_mask, reference_point

WORST = np.array([0.0, 2.0, 10.0])
UNIT = st.integers(0, 20).map(lambda k: k / 20)
POINTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=UNIT).map(
    lambda shares: shares * [1.0, 2.0, 10.0]
)


def box(point: npt.NDArray[np.float64]) -> float:
    """The share of the box from WORST to success for nothing, at once."""
    return float(point[0] * (1 - point[1] / 2.0) * (1 - point[2] / 10.0))


def test_hypervolume_of_one_point_is_its_box() -> None:
    assert hypervolume(np.array([[0.5, 1.0, 5.0]]), WORST) == pytest.approx(0.125)
    assert hypervolume(np.array([[1.0, 0.0, 0.0]]), WORST) == pytest.approx(1.0)


@given(POINTS, POINTS)
def test_hypervolume_of_two_points_is_inclusion_exclusion(
    some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> None:
    a, b = some[0], others[0]
    shared = np.array([min(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])])

    found = hypervolume(np.stack([a, b]), WORST)

    assert found == pytest.approx(box(a) + box(b) - box(shared), abs=1e-12)


@given(POINTS, POINTS)
def test_hypervolume_grows_with_points_and_needs_the_front_only(
    some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> None:
    both = np.concatenate([some, others])

    found = hypervolume(both, WORST)

    assert found >= max(hypervolume(some, WORST), hypervolume(others, WORST)) - 1e-12
    assert found == pytest.approx(hypervolume(both[pareto_mask(both)], WORST))
    assert 0.0 <= found <= 1.0


def test_point_worse_than_the_reference_adds_nothing() -> None:
    assert hypervolume(np.array([[0.9, 2.5, 1.0]]), WORST) == 0.0
    assert hypervolume(np.zeros((0, 3)), WORST) == 0.0


def test_workers_that_cost_nothing_leave_success_and_makespan() -> None:
    free = np.array([0.0, 0.0, 10.0])

    assert hypervolume(np.array([[0.5, 0.0, 5.0]]), free) == pytest.approx(0.25)


def test_front_keeps_equal_points_and_drops_dominated_ones() -> None:
    points = np.array([[0.5, 1.0, 5.0], [0.5, 1.0, 5.0], [0.6, 3.0, 1.0], [0.4, 1.0, 5.0]])

    assert pareto_mask(points).tolist() == [True, True, True, False]
    assert pareto_mask(np.zeros((0, 3))).tolist() == []
    assert reference_point(points).tolist() == [0.0, 3.0, 5.0]
