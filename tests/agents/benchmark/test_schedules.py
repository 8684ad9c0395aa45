"""Schedules of a typical episode, and the tables of workers called."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.baselines.simple import LowestFeatureAgent, RandomAgent
from agents.benchmark.pick_tables import attempt_shares, pick_rows, pick_shares
from agents.benchmark.schedules import record, typical_workflow
from agents.evaluate import evaluate
from tests.agents.problems import builtin_setting


def test_typical_workflow_is_nearest_to_the_median_of_the_large_ones() -> None:
    returns = np.array([1.0, 5.0, 5.5, 9.0, 5.1])

    assert typical_workflow(returns, np.array([4, 4, 4, 4, 2])) == 1
    assert typical_workflow(returns, np.array([4, 2, 2, 6, 2])) == 3
    assert typical_workflow(returns, np.array([2, 2, 2, 2, 2])) == 4


def test_recorded_schedule_is_the_evaluated_episode() -> None:
    full = builtin_setting(30)
    for row in range(3):
        workflows = full.dataset.workflows.take(np.array([row]))
        setting = dataclasses.replace(full, dataset=full.dataset.with_workflows(workflows))
        for agent in (RandomAgent(4), LowestFeatureAgent(setting, "price")):
            schedule = record(agent, setting, seed=2)

            if isinstance(agent, RandomAgent):
                agent = RandomAgent(4)
            found = evaluate(agent, setting, seed=2)
            assert schedule.episode_return == pytest.approx(float(found.episode_return[0]))
            assert schedule.cost_usd == pytest.approx(float(found.cost_usd[0]))
            assert len(schedule.calls) == found.num_calls[0]
            assert schedule.progress in ("succeeded", "failed")


def test_pick_shares_are_of_each_type_and_attempt() -> None:
    picks = np.array([[[3, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]])

    shares = pick_shares(picks, ("math", "code"), ("ace", "bob", "cy"))

    assert shares["math"][0] == {"calls": 4, "shares": {"ace": 0.75, "bob": 0.25}}
    assert pick_rows(shares) == [("math", "ace 75 %, bob 25 %", "cy 100 %")]
    assert attempt_shares(shares, 0) == {"ace": 0.75, "bob": 0.25}


def test_pick_shares_over_all_types_are_weighed_by_calls() -> None:
    shares = pick_shares(np.array([[[3, 0]], [[0, 1]]]), ("math", "code"), ("ace", "bob"))

    assert attempt_shares(shares, 0) == {"ace": 0.75, "bob": 0.25}
