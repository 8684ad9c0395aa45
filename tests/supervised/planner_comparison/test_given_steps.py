"""Links between given subtasks: no order leaks, cycles are never planned, scores by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from supervised.planner_comparison.given_steps import score_given_steps
from tests.supervised.planner_problems import KnowingPlanner, flow

FLOWS = (
    flow("one", ["a", "b", "c"], [(0, 1), (1, 2)]),
    flow("two", ["a", "b", "c"], [(0, 2), (1, 2)]),
    flow("three", ["a", "b", "c"], [(2, 0)]),
    flow("four", ["a", "b"]),
)


class NoLinks:
    """Finds no link likely, and notes in which order it got the subtasks."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def link_probabilities(self, instruction: str, texts: Sequence[str]) -> np.ndarray:
        """Returns zeros."""
        self.asked.append(list(texts))
        return np.zeros((len(texts), len(texts)))


def edge_f1(found: dict, group: str, name: str) -> float:
    return found[group]["edge_f1"][name]["mean"]


def test_planner_that_knows_the_links_gets_them_back_in_the_order_of_the_file() -> None:
    found = score_given_steps([KnowingPlanner({w.instruction: w for w in FLOWS}, 4)], FLOWS)

    assert edge_f1(found, "pooled", "learned") == 1.0
    # A chain has 2 of 2 and 2 links right, then 1 of 2 and 2, then none twice.
    assert edge_f1(found, "pooled", "chain") == pytest.approx((1 + 1 / 2) / 4)
    assert edge_f1(found, "pooled", "independent") == 1 / 4
    assert edge_f1(found, "pooled, non-chain", "chain") == pytest.approx((1 / 2) / 3)
    assert edge_f1(found, "pooled", "learned minus chain") == pytest.approx(1 - 1.5 / 4)
    assert found["pooled, non-chain"]["num_workflows"] == 3
    assert found["written_in_order"] == 3 / 4


def test_chains_alone_have_no_other_group() -> None:
    assert "pooled, non-chain" not in score_given_steps([NoLinks()], FLOWS[:1])


def test_planner_sees_the_subtasks_in_the_order_of_the_file() -> None:
    names = [f"step {i}" for i in range(8)]
    planner = NoLinks()

    score_given_steps([planner], [flow("one", names), flow("two", names[::-1])])

    assert planner.asked == [names, names[::-1]]
