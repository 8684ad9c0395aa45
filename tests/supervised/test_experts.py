"""Experts where weights, workers and their order vary: they value actions, as rewarded now."""

from __future__ import annotations

import numpy as np
import pytest

from agents.agent import Setting
from agents.config import Phase1Settings
from agents.evaluate import start_episodes
from orchestai_env.state import R_COST, R_LATENCY
from supervised.experts import EXPERTS
from tests.agents.problems import toy_setting
from tests.orchestai_env.toy import Instance, win

SETTINGS = Phase1Settings(lookahead_samples=64)
CHEAP_AND_SLOW, DEAR_AND_FAST = win(3000, 1.0), win(1000, 3.0)

each_expert = pytest.mark.parametrize("name", EXPERTS)


def setting_of(count: int, **rules: object) -> Setting:
    """Returns workflows of one subtask, which both workers solve; the weights cost 1 each."""
    return toy_setting([Instance(calls=((CHEAP_AND_SLOW, DEAR_AND_FAST),))] * count, **rules)


@each_expert
def test_values_follow_the_weights_in_force(name: str) -> None:
    """By hand: 10.5 less cost and time at the prices of each episode, not of the profile."""
    setting = setting_of(40, preference_spread=5.0)
    episodes = start_episodes(setting, seed=1)

    values = EXPERTS[name](setting, SETTINGS, 0).values(episodes, np.arange(40))

    per_usd = episodes.state.weights[:, R_COST]
    per_second = 1000.0 * episodes.state.weights[:, R_LATENCY]
    expected = np.stack([10.5 - per_usd - 3 * per_second, 10.5 - 3 * per_usd - per_second], axis=1)
    assert (per_usd.max() > 2.0) and (per_usd.min() < 0.5)
    if name == "hindsight":
        np.testing.assert_allclose(values, expected)
    clear = abs(per_usd - per_second) > 0.5  # lookahead assumes that latencies spread
    assert len({*(per_usd > per_second)[clear].tolist()}) == 2
    np.testing.assert_array_equal(values.argmax(1)[clear], (per_usd < per_second)[clear])


@each_expert
def test_values_are_those_of_the_actions_where_workers_are_shuffled(name: str) -> None:
    setting = setting_of(40, shuffle_workers=True)
    episodes = start_episodes(setting, seed=1)

    values = EXPERTS[name](setting, SETTINGS, 0).values(episodes, np.arange(40))

    plain = start_episodes(setting_of(40), seed=1)
    of_worker = EXPERTS[name](setting, SETTINGS, 0).values(plain, np.arange(40))
    roster = episodes.state.roster
    assert (roster[:, 0] == 1).any() and (roster[:, 0] == 0).any()
    if name == "hindsight":
        np.testing.assert_array_equal(values, np.take_along_axis(of_worker, roster, axis=1))
    absent = start_episodes(setting_of(40, shuffle_workers=True, min_workers=1), seed=1)
    there = EXPERTS[name](setting, SETTINGS, 0).values(absent, np.arange(40))
    np.testing.assert_array_equal(np.isneginf(there), absent.state.roster < 0)
    assert (absent.state.roster < 0).any()
