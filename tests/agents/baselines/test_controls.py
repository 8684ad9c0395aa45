"""The shuffled control: the shares of another agent, and nothing else of it."""

from __future__ import annotations

import numpy as np
import pytest

from agents.baselines.controls import ShuffledAgent, shuffled
from agents.baselines.simple import RandomAgent
from agents.baselines.tables import TableAgent
from agents.evaluate import evaluate
from tests.agents.problems import builtin_setting, toy_setting
from tests.orchestai_env.toy import ONE_SECOND, chain


def test_picks_follow_the_shares_of_the_cell() -> None:
    setting = toy_setting([chain((ONE_SECOND,) * 3)] * 6000, max_attempts=1)

    found = evaluate(ShuffledAgent(setting, np.array([[[10, 0, 30]]]), 0), setting, seed=0)

    # A share of 1/4 of 6000 draws has a standard deviation of 34.
    assert found.picks[0, 0].tolist() == pytest.approx([1500, 0, 4500], abs=4 * 34)


def test_cell_without_allowed_picks_is_drawn_evenly_from_what_is_allowed() -> None:
    setting = toy_setting([chain(((), ONE_SECOND, ONE_SECOND))] * 2000, max_attempts=1)

    found = evaluate(ShuffledAgent(setting, np.array([[[10, 0, 0]]]), 0), setting, seed=0)

    assert found.picks[0, 0].tolist() == pytest.approx([0, 1000, 1000], abs=4 * 23)


def test_shuffled_table_is_the_table_where_it_has_one_worker_per_cell() -> None:
    setting = builtin_setting(60)
    table = TableAgent(setting, np.full((len(setting.dataset.task_types), 3), 2))

    found = evaluate(shuffled(table, setting, setting, 0), setting, seed=0)

    expected = evaluate(table, setting, seed=0)
    same = (found.picks == expected.picks).mean()
    assert same > 0.8  # retries of the table fall to other workers, by what has failed


def test_shuffled_costs_what_its_agent_costs_and_repeats_by_its_seed() -> None:
    """On the built-in data: the mean cost of 400 workflows is within 15 % of the agent's."""
    setting = builtin_setting(400)
    agent = RandomAgent(7)

    first, again, other = (
        evaluate(shuffled(agent, setting, setting, seed), setting, seed=0) for seed in (3, 3, 4)
    )

    cost = evaluate(agent, setting, seed=0).cost_usd.mean()
    assert first.cost_usd.mean() == pytest.approx(cost, rel=0.15)
    assert first.picks.tolist() == again.picks.tolist() != other.picks.tolist()
