"""Evaluation: run an agent through workflows, each once, and report what it did."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding

from agents.agent import Agent, Setting
from orchestai_env.episodes import Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.state import FIRST_START, KEY, LAST_END, NONE, NUMBER, ONGOING, STATUS, SUCCEEDED

KEYS = ("subtasks", "workers", "context", "action_mask")
"""Observation keys that our agents read; adjacency and raw embeddings are left to others."""


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What an agent did in m workflows."""

    episode_return: npt.NDArray[np.float64]
    success: npt.NDArray[np.bool_]
    cost_usd: npt.NDArray[np.float64]
    latency_ms: npt.NDArray[np.float64]
    num_calls: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]
    """bool (m,); every call began after all that its subtask depends on had succeeded."""

    def summary(self) -> dict[str, float]:
        """Returns the means, by the names of the report."""
        return {
            "return_mean": float(self.episode_return.mean()),
            "success_rate": float(self.success.mean()),
            "cost_usd": float(self.cost_usd.mean()),
            "latency_s": float(self.latency_ms.mean()) / 1000.0,
            "validity": float(self.valid.mean()),
            "calls": float(self.num_calls.mean()),
        }


def start_episodes(setting: Setting, *, seed: int) -> Episodes:
    """Starts one episode per workflow of the data set, in its order."""
    n = len(setting.dataset.workflows)
    episodes = Episodes(
        setting.dataset,
        n=n,
        rules=setting.rules,
        weights=setting.weights,
        layout=ObservationLayout.of(setting.dataset, KEYS),
    )
    # One key for all rows and the workflow as episode number: a workflow's random numbers do not
    # depend on which others run beside it, and agents meet the same ones.
    rng, _ = seeding.np_random(seed)
    episodes.seed_row(0, rng)
    episodes.state.episode[:, KEY] = episodes.state.episode[0, KEY]
    episodes.state.episode[:, NUMBER] = np.arange(n) - 1
    episodes.reset(workflows=np.arange(n))
    return episodes


def evaluate(agent: Agent, setting: Setting, *, seed: int, deterministic: bool = True) -> Outcomes:
    """Runs an agent once through every workflow of the data set.

    Args:
        agent: anything with `predict`; one with `attach` is given the running episodes first.
        setting: data, rules and weights.
        seed: of the random numbers of simulated outcomes; the same seed, the same luck.
        deterministic: passed to `predict`.
    """
    episodes = start_episodes(setting, seed=seed)
    if hasattr(agent, "attach"):
        agent.attach(episodes)
    total = np.zeros(episodes.n)
    rows = np.arange(episodes.n)
    while len(rows):
        observation = {key: getattr(episodes.out, key)[rows] for key in KEYS}
        actions, _ = agent.predict(observation, deterministic=deterministic)
        episodes.step(np.asarray(actions, np.int64), rows)
        total[rows] += episodes.reward[rows]
        rows = rows[episodes.ended[rows] == ONGOING]
    return Outcomes(
        episode_return=total,
        success=episodes.summary[:, 0] > 0,
        cost_usd=episodes.summary[:, 1].copy(),
        latency_ms=episodes.summary[:, 2].copy(),
        num_calls=episodes.summary[:, 3].astype(np.int64),
        valid=_obeys_precedence(episodes),
    )


def _obeys_precedence(episodes: Episodes) -> npt.NDArray[np.bool_]:
    """Checks the executed schedules against the links of their workflows."""
    workflows, subtask = episodes.dataset.workflows, episodes.state.subtask
    start = subtask[:, :, FIRST_START]
    end = subtask[:, :, LAST_END]
    done = subtask[:, :, STATUS] == SUCCEEDED
    rows = np.arange(episodes.n)[:, None]
    valid = np.ones(episodes.n, bool)
    for p in range(workflows.parents.shape[2]):
        parent = workflows.parents[:, : subtask.shape[1], p]
        has_parent = (parent >= 0) & (start != NONE)
        in_time = done[rows, parent] & (end[rows, parent] <= start)
        valid &= (in_time | ~has_parent).all(axis=1)
    return valid
