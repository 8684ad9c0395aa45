"""Bounds: what they know, and that nobody beats the exact one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.agent import Agent
from agents.baselines.bounds import HindsightAgent, LookaheadAgent, OracleAgent
from agents.baselines.simple import RandomAgent
from agents.evaluate import evaluate, start_episodes
from orchestai_env.oracle import Lookahead, hindsight_optimum
from tests.agents.problems import builtin_setting, calls_of, toy_setting
from tests.orchestai_env.toy import DIAMOND, DIAMOND_BEST, DIAMOND_RETURN, chain, lose, win


@pytest.mark.parametrize("agent", [HindsightAgent(), LookaheadAgent(0), OracleAgent()])
def test_bound_needs_the_episodes(agent: Agent) -> None:
    with pytest.raises(RuntimeError, match=f"{type(agent).__name__} needs attach"):
        agent.predict({})


def test_oracle_plays_the_optimum_of_the_diamond() -> None:
    """Per-call hindsight does not see the queue, see DIAMOND."""
    setting = toy_setting([DIAMOND, DIAMOND], concurrency=(1, 1), max_attempts=2)

    assert calls_of(OracleAgent(), setting) == [list(DIAMOND_BEST)] * 2
    assert evaluate(OracleAgent(), setting, seed=0).episode_return.tolist() == [DIAMOND_RETURN] * 2
    assert evaluate(HindsightAgent(), setting, seed=0).episode_return[0] < DIAMOND_RETURN


def test_oracle_earns_what_the_solver_says_and_more_than_hindsight() -> None:
    setting = builtin_setting(8)
    episodes = start_episodes(setting, seed=3)
    best = [hindsight_optimum(episodes, r).episode_return for r in range(8)]

    found = evaluate(OracleAgent(), setting, seed=3).episode_return

    assert found == pytest.approx(best)
    assert (found >= evaluate(HindsightAgent(), setting, seed=3).episode_return - 1e-9).all()
    assert (found >= evaluate(RandomAgent(0), setting, seed=3).episode_return - 1e-9).all()


def test_oracle_begins_where_it_is_attached_and_anew_each_time() -> None:
    setting = toy_setting([chain((lose(1000, 1.0), win(1000, 1.0)))] * 2)
    agent = OracleAgent()
    assert calls_of(agent, setting) == [[1], [1]]

    other = toy_setting([chain((win(1000, 1.0), lose(1000, 1.0)))])

    assert calls_of(agent, other) == [[0]]


def test_hindsight_judges_by_the_weights_of_the_episode() -> None:
    """Where dollars weigh 100 times as much as in another episode, it takes the cheap worker."""
    setting = builtin_setting(300, preference_spread=1000.0)
    episodes = start_episodes(setting, seed=0)
    agent = HindsightAgent()
    agent.attach(episodes)

    actions, _ = agent.predict({})

    price = setting.dataset.statistics.cost_usd
    cost = price[setting.dataset.workflows.task_type[:, 0], actions]
    weight = episodes.state.weights[:, 1]
    dear, cheap = weight > np.quantile(weight, 0.8), weight < np.quantile(weight, 0.2)
    assert cost[dear].mean() < 0.5 * cost[cheap].mean()


def test_lookahead_follows_its_solver_and_that_of_new_statistics() -> None:
    setting = builtin_setting(6)
    agent = LookaheadAgent(4)
    known = setting.dataset.statistics
    doubled = dataclasses.replace(known, cost_usd=10.0 * known.cost_usd)
    for statistics in (known, doubled):
        dataset = dataclasses.replace(setting.dataset, statistics=statistics)
        episodes = start_episodes(dataclasses.replace(setting, dataset=dataset), seed=0)
        agent.attach(episodes)
        rows = np.arange(6)

        actions, _ = agent.predict({})

        expected = Lookahead(dataset, seed=4).actions(episodes, rows)
        assert actions.tolist() == expected.tolist()
