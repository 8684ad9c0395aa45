"""Scores of planners over a data set: groups, intervals, differences, confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from orchestai_env.planning import Plan
from supervised.planner_comparison.scores import (
    FIGURES,
    PlannerScores,
    groups_of,
    is_chain,
    score_planners,
    score_workflow,
    summarise,
)
from supervised.plans.dataset import PlanTarget, WorkflowDataset
from supervised.texts.encoder import MemoEncoder
from tests.supervised.planner_problems import KnowingPlanner, WordEncoder, dataset, flow

FLOWS = (
    flow("a b", ["get a", "sort a", "send a"], [(0, 1), (1, 2)]),
    flow("c d", ["get c", "sort c", "send c"], [(0, 1), (0, 2)]),
    flow("e f", ["get e"]),
    flow("g h", ["get g", "send g"]),
)
TRUTH = {workflow.instruction: workflow for workflow in FLOWS}


def test_planner_that_knows_the_truth_scores_perfectly() -> None:
    planners = [KnowingPlanner(TRUTH, num_right=4), KnowingPlanner(TRUTH, num_right=2)]

    scores = score_planners(planners, dataset(*FLOWS), MemoEncoder(cast(Any, WordEncoder())))

    assert scores.figures.shape == (2, 4, len(FIGURES))
    assert (scores.figures[0] == [1.0, 1.0, 0.0, 1.0, 1.0]).all()
    assert (scores.figures[1, :3] == scores.figures[0, :3]).all()
    assert scores.figures[1, 3].tolist() == pytest.approx([2 / 3, 1.0, 1.0, 0.0, 1.0])
    assert scores.confidence.tolist() == [[1.0] * 4, [1.0, 1.0, 0.5, 0.5]]


def test_plan_without_subtasks_is_invalid_and_scores_nothing() -> None:
    score = score_workflow(flow("a b", []), FLOWS[0], MemoEncoder(cast(Any, WordEncoder())))

    assert (score.node_f1, score.edge_f1, score.count_error, score.valid) == (0.0, 0.0, 3.0, 0.0)


def test_groups_are_sources_their_parts_and_what_is_no_chain() -> None:
    targets = [
        PlanTarget(
            workflow=flow(name, ["x", "y"], [(0, 1)] if linked else [], name=name),
            workers=(None, None),
            source=source,
        )
        for name, linked, source in (
            ("wf/seal_tools_1", False, "wf"),
            ("wf/seal_tools_2", True, "wf"),
            ("wf/os/17", True, "wf"),
            ("one/only_3", False, "one"),
            ("other.json:4", False, ""),
        )
    ]
    groups = groups_of(WorkflowDataset.from_plans(targets))

    assert {name: np.flatnonzero(rows).tolist() for name, rows in groups.items()} == {
        "pooled": [0, 1, 2, 3, 4],
        "pooled, non-chain": [0, 3, 4],
        "one": [3],
        "wf": [0, 1, 2],
        "wf, non-chain": [0],
        "wf/os": [2],
        "wf/seal_tools": [0, 1],
    }


def test_chain_links_each_subtask_to_the_next_only() -> None:
    assert [is_chain(workflow) for workflow in FLOWS] == [True, False, True, False]


def test_difference_is_paired_by_workflow() -> None:
    """Two planners of which one is 0.1 better everywhere differ by exactly that."""
    rng = np.random.default_rng(2)
    base = rng.random((1, 30, len(FIGURES)))
    better = np.repeat(base, 3, axis=0) + 0.1
    scores = {
        "better": PlannerScores(figures=better, confidence=better[..., 0]),
        "base": PlannerScores(figures=base, confidence=np.ones((1, 30))),
    }

    found = summarise(scores, {"all": np.ones(30, np.bool_)}, "base")["all"]

    gain = found["planners"]["better"]["minus_baseline"]["edge_f1"]
    assert (gain["mean"], gain["low"], gain["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert found["num_workflows"] == 30
    assert "minus_baseline" not in found["planners"]["base"]


def test_confidence_is_correlated_with_the_score_where_both_vary() -> None:
    figures = np.zeros((1, 4, len(FIGURES)))
    figures[0, :, 0] = [0.1, 0.3, 0.2, 0.9]
    everyone = {"all": np.ones(4, np.bool_), "two": np.array([True, True, False, False])}
    scores = {"p": PlannerScores(figures=figures, confidence=np.array([[0.1, 0.1, 0.1, 0.2]]))}

    found = summarise(scores, everyone, "p")

    assert found["all"]["planners"]["p"]["confidence"] == pytest.approx(0.125)
    assert 0.7 < found["all"]["planners"]["p"]["confidence_correlation"] < 0.8
    assert found["two"]["planners"]["p"]["confidence_correlation"] is None


def test_empty_plan_record_is_scored_not_refused() -> None:
    class Silent:
        name = "silent"
        task_types = ("write",)

        def plan(self, instructions: Sequence[str]) -> list[Plan]:
            return [
                Plan(workflow=flow(text, []), planner="silent", confidence=0.0)
                for text in instructions
            ]

    scores = score_planners([Silent()], dataset(*FLOWS), MemoEncoder(cast(Any, WordEncoder())))

    assert (scores.figures[..., FIGURES.index("valid")] == 0).all()
