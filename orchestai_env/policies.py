"""Simple policies by name, for the command line: each picks an allowed worker for one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.oracle import Lookahead, hindsight_optimum

_ROW = np.zeros(1, np.int64)

Policy = Callable[[Obs], int]
"""Chooses the worker for an observation."""

PolicyFactory = Callable[[OrchestAIEnv, int], Policy]
"""Makes a policy for an environment, with a seed; the environment has all observation keys."""


def random_policy(env: OrchestAIEnv, seed: int) -> Policy:
    """Returns a policy that picks an allowed worker uniformly."""
    rng = np.random.default_rng([seed, 1])  # not the stream of the environment
    return lambda obs: int(rng.choice(np.flatnonzero(obs["action_mask"])))


def cheapest_policy(env: OrchestAIEnv, seed: int) -> Policy:
    """Returns a policy that picks the worker with the lowest mean cost on the task type."""
    return _lowest(env, "price")


def fastest_policy(env: OrchestAIEnv, seed: int) -> Policy:
    """Returns a policy that picks the worker with the lowest mean latency on the task type."""
    return _lowest(env, "expected_latency")


def lookahead_policy(env: OrchestAIEnv, seed: int) -> Policy:
    """Returns a policy that tries every worker in sampled worlds; it knows the odds only."""
    lookahead = Lookahead(env.dataset, seed=seed)
    return lambda obs: int(lookahead.actions(env.episodes, _ROW)[0])


def optimum_policy(env: OrchestAIEnv, seed: int) -> Policy:
    """Returns a policy that knows all outcomes and earns the most that can be earned."""
    return lambda obs: hindsight_optimum(env.episodes, 0).actions[0]


POLICIES: Mapping[str, PolicyFactory] = {
    "random": random_policy,
    "cheapest": cheapest_policy,
    "fastest": fastest_policy,
    "lookahead": lookahead_policy,
    "optimum": optimum_policy,
}


def _lowest(env: OrchestAIEnv, feature: str) -> Policy:
    column = env.observation_layout.feature_names["workers"].index(feature)

    def choose(obs: Obs) -> int:
        values = obs["workers"][:, column]
        return int(np.where(obs["action_mask"] > 0, values, np.inf).argmin())

    return choose
