"""Evaluation: run an agent through workflows, each once, and report what it did."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.utils import seeding

from agents.agent import Agent, Setting, State
from orchestai_env.episodes import Episodes
from orchestai_env.errors import OrchestAIError, shown
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import REWARD_TERMS
from orchestai_env.state import (
    ATTEMPTS,
    CURRENT,
    FIRST_START,
    KEY,
    LAST_END,
    NONE,
    NUMBER,
    ONGOING,
    STATUS,
    SUCCEEDED,
    WORKFLOW,
)

KEYS = ("subtasks", "workers", "context", "action_mask")
"""Observation keys of an agent without `observation_keys`; adjacency and embeddings are left to
agents that ask for them."""


class AgentActionError(OrchestAIError, ValueError):
    """An agent returned something else than an allowed worker for each observation."""


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What an agent did in m workflows. T task types, W workers."""

    episode_return: npt.NDArray[np.float64]
    """float64 (m,)."""
    success: npt.NDArray[np.bool_]
    """bool (m,)."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (m,) [USD]."""
    latency_ms: npt.NDArray[np.float64]
    """float64 (m,) [ms]; makespan."""
    num_calls: npt.NDArray[np.int64]
    """int64 (m,); decisions, each of which asks for a call."""
    valid: npt.NDArray[np.bool_]
    """bool (m,); every call began after all that its subtask depends on had succeeded."""
    reward_terms: npt.NDArray[np.float64]
    """float64 (m, 4); terms of the return, signed, in the order of reward.REWARD_TERMS; they sum
    to `episode_return`."""
    picks: npt.NDArray[np.int64]
    """int64 (T, max_attempts, W); calls by task type, attempt (failed calls of the subtask so far)
    and worker, by its place in the pool; they sum to the sum of `num_calls`."""
    masked_actions: npt.NDArray[np.int64]
    """int64 (m,); masked actions that the environment replaced; `evaluate` lets none through."""

    def summary(self) -> dict[str, float]:
        """Returns the means, by the names of the report."""
        terms = self.reward_terms.mean(axis=0)
        return {
            "return_mean": float(self.episode_return.mean()),
            "success_rate": float(self.success.mean()),
            "cost_usd": float(self.cost_usd.mean()),
            "latency_s": float(self.latency_ms.mean()) / 1000.0,
            "validity": float(self.valid.mean()),
            "calls": float(self.num_calls.mean()),
            "masked_actions": float(self.masked_actions.mean()),
            **{
                f"reward_{name}": float(mean)
                for name, mean in zip(REWARD_TERMS, terms, strict=True)
            },
        }


def start_episodes(setting: Setting, *, seed: int, keys: tuple[str, ...] = KEYS) -> Episodes:
    """Starts one episode per workflow of the data set, in its order.

    Args:
        setting: data, rules and weights.
        seed: of the random numbers of simulated outcomes and of what varies by episode.
        keys: of the observation.
    Raises:
        ConfigError: a key is unknown, or an embedding that the data lacks.
    """
    n = len(setting.dataset.workflows)
    episodes = Episodes(
        setting.dataset,
        n=n,
        rules=setting.rules,
        weights=setting.weights,
        layout=ObservationLayout.of(setting.dataset, keys),
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

    An agent that returns a state with its first actions is recurrent: it is given all rows at
    every step, those that have ended too, as SB3 does; what it says of these is ignored.

    Args:
        agent: anything with `predict`; one with `attach` is given the running episodes first, and
            one with `observation_keys` sees these keys, else KEYS.
        setting: data, rules and weights.
        seed: of the random numbers of simulated outcomes; the same seed, the same luck.
        deterministic: passed to `predict`.
    Raises:
        AgentActionError: the agent returned something else than one allowed worker per row.
        ConfigError: the data set lacks an embedding that the agent asks for.
    """
    keys = tuple(getattr(agent, "observation_keys", KEYS))
    episodes = start_episodes(setting, seed=seed, keys=keys)
    if hasattr(agent, "attach"):
        agent.attach(episodes)
    tally = _Tally(episodes)
    rows = everyone = np.arange(episodes.n)
    state: State = None
    is_first = True
    while len(rows):
        shown_rows = rows if state is None else everyone
        observation = {key: getattr(episodes.out, key)[shown_rows] for key in keys}
        starts = np.full(len(shown_rows), is_first)
        found, after = agent.predict(
            observation, state=state, episode_start=starts, deterministic=deterministic
        )
        if is_first or state is not None:
            state = after
        is_first = False
        tally.step(rows, _checked(found, shown_rows, rows, episodes, agent))
        rows = rows[episodes.ended[rows] == ONGOING]
    return tally.outcomes()


class _Tally:
    """Steps episodes and sums up what comes of it."""

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes
        num_types, num_workers = episodes.features.cost_usd.shape
        self._total = np.zeros(episodes.n)
        self._terms = np.zeros((episodes.n, len(REWARD_TERMS)))
        self._picks = np.zeros((num_types, episodes.rules.max_attempts, num_workers), np.int64)

    def step(self, rows: npt.NDArray[np.int64], actions: npt.NDArray[np.int64]) -> None:
        """Counts the calls that the actions ask for, and makes them."""
        episodes, state = self._episodes, self._episodes.state
        workflow, current = state.episode[rows, WORKFLOW], state.episode[rows, CURRENT]
        task_type = episodes.problem.task_type[workflow, current]
        attempt = state.subtask[rows, current, ATTEMPTS]
        np.add.at(self._picks, (task_type, attempt, state.roster[rows, actions]), 1)
        episodes.step(actions, rows)
        self._total[rows] += episodes.reward[rows]
        self._terms[rows] += state.terms[rows]

    def outcomes(self) -> Outcomes:
        """Returns what was done; all episodes have ended."""
        summary = self._episodes.summary
        return Outcomes(
            episode_return=self._total,
            success=summary[:, 0] > 0,
            cost_usd=summary[:, 1].copy(),
            latency_ms=summary[:, 2].copy(),
            num_calls=summary[:, 3].astype(np.int64),
            valid=_obeys_precedence(self._episodes),
            reward_terms=self._terms,
            picks=self._picks,
            masked_actions=summary[:, 4].astype(np.int64),
        )


def _checked(
    found: Any,
    shown_rows: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    episodes: Episodes,
    agent: Agent,
) -> npt.NDArray[np.int64]:
    """Returns int64 (m,): the actions of the rows that have not ended.

    Args:
        found: what the agent returned for `shown_rows`.
        shown_rows: int64 (k,); rows that it saw.
        rows: int64 (m,); those of them that have not ended.
        episodes: the running episodes.
        agent: named by its class.
    Raises:
        AgentActionError: they are no allowed workers; the message names the first such row.
    """
    who = f"agent {type(agent).__name__}"
    try:
        values = np.asarray(found)
    except (TypeError, ValueError) as error:  # a tensor on a GPU; lists of different lengths
        raise AgentActionError(
            f"{who}: expected an array of {len(shown_rows)} actions, got {shown(found)} ({error})"
        ) from None
    if values.shape != shown_rows.shape:
        raise AgentActionError(
            f"{who}: expected actions of shape ({len(shown_rows)},), one worker for each "
            f"observation, got shape {values.shape}"
        )
    if len(shown_rows) != len(rows):
        values = values[rows]
    if values.dtype.kind not in "iu":
        wrong = _first_fraction(values)
        raise AgentActionError(
            f"{who}: expected whole numbers of dtype int64, got {shown(values.tolist()[wrong])} of "
            f"dtype {values.dtype} for workflow {rows[wrong]}; {_allowed(episodes, rows[wrong])}"
        )
    mask = episodes.state.mask[rows]
    outside = (values < 0) | (values >= mask.shape[1])
    if outside.any():
        r, action = rows[outside.argmax()], values[outside.argmax()]
        raise AgentActionError(
            f"{who}: expected an action in 0..{mask.shape[1] - 1}, got {action} for workflow {r}; "
            + _allowed(episodes, r)
        )
    actions = values.astype(np.int64)
    masked = mask[np.arange(len(rows)), actions] == 0
    if masked.any():
        r, action = rows[masked.argmax()], actions[masked.argmax()]
        raise AgentActionError(
            f"{who}: expected an allowed worker, got the masked {action} for workflow {r}; "
            + _allowed(episodes, r)
        )
    return actions


def _first_fraction(values: npt.NDArray[Any]) -> int:
    """Returns the place of the first value that is no whole number; 0 where all are."""
    if values.dtype.kind != "f":
        return 0
    return int(np.argmax(~np.isfinite(values) | (values != np.floor(values))))


def _allowed(episodes: Episodes, r: int) -> str:
    """Says which actions of a row are allowed."""
    names = episodes.worker_names(int(r))
    listed = (f"{a} ({names[a]})" for a in np.flatnonzero(episodes.state.mask[r]))
    return f"allowed there: {', '.join(listed)}; choose by action_mask"


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
