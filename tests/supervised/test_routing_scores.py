"""Average performance gap recovered: known orders."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai_env.errors import DataError
from supervised.routing_scores import gap_recovered

WEAK = np.array([1.0, 0.0, 0.0, 1.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def test_random_order_recovers_half() -> None:
    assert gap_recovered(np.zeros(4), WEAK, STRONG) == pytest.approx(0.5)


def test_best_and_worst_order_by_hand() -> None:
    best, worst = np.array([0.1, 0.9, 0.8, 0.2]), np.array([0.9, 0.1, 0.2, 0.8])

    # The gap is closed after two of four queries: a triangle of 1/4, then a square of 1/2.
    assert gap_recovered(best, WEAK, STRONG) == pytest.approx(0.75)
    assert gap_recovered(worst, WEAK, STRONG) == pytest.approx(0.25)


def test_it_can_pass_one_where_the_weak_worker_is_sometimes_better() -> None:
    weak, strong = np.array([0.0, 0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0, 0.0])

    assert gap_recovered(strong, weak, strong) > 1


def test_no_gap_is_refused() -> None:
    with pytest.raises(DataError, match="expected a gap between them, got none over 4 queries"):
        gap_recovered(np.zeros(4), WEAK, WEAK)
