"""Small decision problems for tests of agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.agent import Agent, Obs, Setting, State
from agents.evaluate import KEYS, evaluate, start_episodes
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.episodes import Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import ONGOING
from tests.orchestai_env.toy import SECONDS, Instance, toy_dataset
from tests.tiny_config import BALANCED

WEIGHTS = RewardWeights.model_validate(BALANCED)
"""The profile `balanced`."""


def builtin_setting(num_workflows: int, split: str = "train", **rules: Any) -> Setting:
    """Returns the built-in data under the balanced weights."""
    return Setting(
        dataset=builtin_dataset(split, num_workflows=num_workflows, max_subtasks=6),
        rules=EpisodeRules(**rules),
        weights=WEIGHTS,
    )


def toy_setting(instances: Sequence[Instance], **arguments: Any) -> Setting:
    """Returns hand-made instances, where a dollar and a second cost 1 each."""
    names = ("concurrency", "cost_upper", "max_subtasks")
    of_data = {name: arguments.pop(name) for name in names if name in arguments}
    return Setting(
        dataset=toy_dataset(instances, **of_data), rules=EpisodeRules(**arguments), weights=SECONDS
    )


def first_observations(setting: Setting) -> tuple[Episodes, Obs]:
    """Returns the episodes of all workflows, just begun, and what an agent sees of them."""
    episodes = start_episodes(setting, seed=0)
    return episodes, observe(episodes)


def observe(episodes: Episodes) -> dict[str, npt.NDArray[Any]]:
    """Returns a copy of what an agent sees of every row."""
    return {key: getattr(episodes.out, key).copy() for key in KEYS}


def random_observations(setting: Setting, count: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Returns observations met by random play; at the end of episodes rows restart."""
    rng = np.random.default_rng(seed)
    episodes = Episodes(
        setting.dataset,
        n=count,
        rules=setting.rules,
        weights=setting.weights,
        layout=ObservationLayout.of(setting.dataset, KEYS),
    )
    for r in range(count):
        episodes.seed_row(r, np.random.default_rng([seed, r]))
    episodes.reset()
    for _ in range(5):
        episodes.step(rng.integers(len(setting.dataset.pool), size=count))
        episodes.reset(np.flatnonzero(episodes.ended))
    return observe(episodes)


def calls_of(agent: Agent, setting: Setting) -> list[list[int]]:
    """Plays an agent through every workflow and returns the workers that it called, in order."""
    recorder = Recorder(agent)
    evaluate(recorder, setting, seed=0)
    return recorder.calls


class Recorder:
    """Passes an agent's choices on and notes them for each workflow."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.calls: list[list[int]] = []
        self.episodes: Episodes | None = None
        self.observation_keys = getattr(agent, "observation_keys", KEYS)

    def attach(self, episodes: Episodes) -> None:
        self.episodes = episodes
        self.calls = [[] for _ in range(episodes.n)]
        if hasattr(self._agent, "attach"):
            self._agent.attach(episodes)

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        assert self.episodes is not None
        actions, state = self._agent.predict(observation, deterministic=deterministic)
        rows = np.flatnonzero(self.episodes.ended == ONGOING)
        for r, action in zip(rows.tolist(), actions.tolist(), strict=True):
            self.calls[r].append(action)
        return actions, state
