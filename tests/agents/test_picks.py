"""Picks of roll-outs: shares, their entropy, and the alarm when one worker is left."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import configure

from agents.evaluate import KEYS
from agents.picks import PickMonitor, entropies, pick_figure, pick_shares
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS

DATASET = builtin_dataset(num_workflows=20, max_subtasks=6)


class Roll:
    """A model in name only: an environment, a logger and a count of steps."""

    def __init__(self, collapse_share: float = 0.98) -> None:
        venv = OrchestAIVectorEnv(64, DATASET, reward_weights=WEIGHTS, observation=KEYS)
        self.env: Any = OrchestAIVecEnv(venv, seed=0)
        self.logger = configure(None, [])
        self.num_timesteps = 7
        self.policy = None
        self.monitor = PickMonitor(DATASET, collapse_share)
        self.monitor.init_callback(self)  # type: ignore[arg-type]  # what it reads is here
        self.env.reset()
        self._rng = np.random.default_rng(0)

    def get_env(self) -> Any:
        return self.env

    def out(self, *, collapsed: bool) -> None:
        """Plays a roll-out: at random, or by the first allowed worker."""
        for _ in range(32):
            mask = self.env.action_masks()
            scores = self._rng.random(mask.shape) * mask
            self.env.step((mask if collapsed else scores).argmax(axis=1))
        self.monitor.on_rollout_end()


def test_entropy_of_known_shares() -> None:
    picks = np.array([[2, 2, 0], [0, 5, 0], [0, 0, 0]])

    shares = pick_shares(picks)

    np.testing.assert_array_equal(shares, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(entropies(shares), [np.log(2.0), 0.0, 0.0])


def test_alarm_is_raised_once_until_the_picks_recover(caplog: pytest.LogCaptureFixture) -> None:
    roll = Roll()

    roll.out(collapsed=False)
    assert not caplog.records
    roll.out(collapsed=True)
    first = [record.getMessage() for record in caplog.records]
    assert first and all("have collapsed: 100.0 % of" in line for line in first)
    roll.out(collapsed=True)
    assert len(caplog.records) == len(first)
    roll.out(collapsed=False)
    roll.out(collapsed=True)
    assert len(caplog.records) > len(first)


def test_alarm_names_task_type_worker_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    roll = Roll()

    with caplog.at_level(logging.WARNING, logger="agents.picks"):
        roll.out(collapsed=True)

    line = caplog.records[0].getMessage()
    assert line.startswith("step 7: picks for task type")
    assert any(repr(name) in line for name in DATASET.task_types)
    assert any(repr(name) in line for name in DATASET.pool.names)
    assert "(alarm above 98.0 %)" in line and "raise ent_coef" in line


def test_few_calls_raise_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    roll = Roll()
    picks = np.zeros_like(roll.env.take_picks())
    picks[0, 0], picks[1] = 99, 1000
    roll.env._picks = picks

    roll.monitor.on_rollout_end()

    assert not caplog.records


def test_scalars_are_logged_per_task_type() -> None:
    roll = Roll()

    roll.out(collapsed=False)

    told = roll.logger.name_to_value
    for name in DATASET.task_types:
        shares = [told[f"rollout/picks/{name}/{worker}"] for worker in DATASET.pool.names]
        assert sum(shares) == pytest.approx(1.0)
        assert told[f"picks/largest_share/{name}"] == max(shares)
        assert told[f"picks/entropy/{name}"] == pytest.approx(entropies(np.array([shares])).item())


def test_small_rollouts_are_gathered() -> None:
    roll = Roll()
    roll.env._picks = np.full_like(roll.env._picks, 1)

    roll.monitor.on_rollout_end()

    assert not roll.logger.name_to_value


def test_figure_names_types_and_workers() -> None:
    picks = np.array([[3, 1], [0, 0]])

    figure = pick_figure(picks, ("math", "code"), ("ace", "bob"))

    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["math", "code"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ace", "bob"]
    assert [text.get_text() for text in axes.texts] == ["75%", "25%"]
