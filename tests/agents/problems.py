"""Small decision problems for tests of agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.agent import Obs, Setting
from agents.evaluate import KEYS, start_episodes
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.episodes import EpisodeRules, Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import RewardWeights
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
        episodes.restart_ended()
    return observe(episodes)
