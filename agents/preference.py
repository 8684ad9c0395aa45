"""Preferences at prediction time: one trained agent, asked for another trade-off."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.agent import WEIGHT_SCALES, Agent, Obs, State, unsquash
from agents.evaluate import KEYS
from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError
from orchestai_env.features import build_features, squash
from orchestai_env.observation import CONTEXT_FEATURES, WORKER_FEATURES, subtask_features
from orchestai_env.reward import RewardWeights

_LOG = logging.getLogger(__name__)
_REWRITTEN = ("workers", "context")
_READ = ("subtasks", *_REWRITTEN)
_TOLERANCE = 1e-9  # relative; weights that come out of a product


def scaled_weights(weights: RewardWeights, cost: float, latency: float) -> RewardWeights:
    """Returns the weights with those of cost and latency multiplied by factors > 0."""
    changes = {
        "cost_weight": weights.cost_weight * cost,
        "latency_weight": weights.latency_weight * latency,
    }
    return RewardWeights.model_validate(weights.model_dump() | changes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceRange:
    """Weights that a policy met in training; see training.variation.preference_spread."""

    weights: RewardWeights
    """Of the profile that it was trained under."""
    spread: float
    """x >= 1: the weights of cost and latency were multiplied by factors in 1/x..x each."""

    def contains(self, weights: RewardWeights) -> bool:
        """Tells whether the weights are inside; those of success and shaping have to be equal."""
        factor = np.array([1.0, self.spread, self.spread, 1.0]) * (1.0 + _TOLERANCE)
        center, asked = self.weights.as_array(), weights.as_array()
        return bool(((asked >= center / factor) & (asked <= center * factor)).all())

    def describe(self) -> str:
        """Returns the range in words, per USD and ms."""
        success, cost, latency, shaping = self.weights.as_array().tolist()
        return (
            f"success_weight {success:g}, cost_weight {cost / self.spread:g}.."
            f"{cost * self.spread:g}, latency_weight {latency / self.spread:g}.."
            f"{latency * self.spread:g} per ms, shaping_weight {shaping:g}"
        )


class PreferenceAgent:
    """Lets an agent answer as if the episode's reward weights were others.

    It rewrites all of the observation that depends on the weights, in a copy: four columns of
    `context` and `expected_value` of `workers`. What comes out is what an environment of these
    weights shows: bit for bit (on a CPU) where an action holds its own worker at its list price
    and usual latency, and to 1e-6 where workers are shuffled or prices or latencies vary. There,
    mean cost and latency of a call are read back from their squashed columns, whose relative error
    is 6e-8 / (1 - column): the 1e-6 hold for calls up to 10 times as dear and slow as the median.

    A policy answers well inside the range that it was trained on; beyond it, it extrapolates.
    """

    def __init__(
        self,
        agent: Agent,
        dataset: Dataset,
        weights: RewardWeights,
        trained: PreferenceRange | None = None,
    ) -> None:
        """Wraps an agent.

        Args:
            agent: anything with `predict` that reads `context` or `workers`.
            dataset: that the episodes are of; any split.
            weights: to answer for.
            trained: where the agent learned; weights outside it are logged as a warning, once.
        Raises:
            ConfigError: the agent reads neither key, so that no preference could reach it.
        """
        own = getattr(agent, "observation_keys", None)
        if own is not None and not set(_REWRITTEN) & set(own):
            raise ConfigError(
                f"preference: the agent reads {', '.join(own)} only, but weights show in "
                f"{' and '.join(_REWRITTEN)}; give an agent that reads one of them"
            )
        if trained is not None and not trained.contains(weights):
            _LOG.warning(
                "preference %s is outside what the policy was trained on (%s): it extrapolates; "
                "train with a larger training.variation.preference_spread",
                weights.as_array().tolist(),
                trained.describe(),
            )
        self.agent, self.weights = agent, weights
        self._own_keys: Sequence[str] | None = own
        self.observation_keys = tuple(dict.fromkeys((*(own or KEYS), *_READ)))
        self._rewriter = _Rewriter(dataset, weights)

    def attach(self, episodes: Any) -> None:
        """Hands the running episodes on to an agent that asks for them."""
        if hasattr(self.agent, "attach"):
            self.agent.attach(episodes)

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        """Returns what the agent does under the weights; see Agent.

        Raises:
            ConfigError: the observation lacks a key that has to be read or rewritten.
        """
        rewritten = self._rewriter(observation)
        if self._own_keys is not None:
            rewritten = {key: rewritten[key] for key in self._own_keys}
        return self.agent.predict(rewritten, state, episode_start, deterministic)


class _Rewriter:
    """Rewrites what depends on the reward weights; the formulas are those of observe.py."""

    def __init__(self, dataset: Dataset, weights: RewardWeights) -> None:
        per = weights.as_array()
        known = build_features(dataset)
        names = subtask_features(dataset.task_types)
        self._is_current = names.index("is_current")
        self._types = slice(1, 1 + len(dataset.task_types))
        self._columns = {name: place for place, name in enumerate(WORKER_FEATURES)}
        self._first_kind = min(p for n, p in self._columns.items() if n.startswith("kind_"))
        self._context = [CONTEXT_FEATURES.index(name) for name in WEIGHT_SCALES]
        scales = np.array(list(WEIGHT_SCALES.values()))
        self._context_values = (per / (per + scales)).astype(np.float32)
        self._paid = max(per[0] + per[3], 1e-9)
        self._per_usd, self._per_ms = per[1], per[2]
        self._cost_scale, self._time_scale = known.scale[0], known.scale[1] / 1000.0  # USD, ms
        self._cost_usd, self._latency_ms = known.cost_usd, known.expected_us / 1000.0
        self._price = squash(known.cost_usd, self._cost_scale)
        self._latency = squash(known.expected_us, known.scale[1])

    def __call__(self, observation: Obs) -> dict[str, npt.NDArray[Any]]:
        """Returns the observation, one or a batch, with copies of the keys that change."""
        missing = [key for key in _READ if key not in observation]
        if missing:
            raise ConfigError(
                f"preference: expected an observation with {', '.join(_READ)}, got none of "
                f"{', '.join(missing)}; add them to the environment's `observation`"
            )
        workers, context = observation["workers"].copy(), observation["context"].copy()
        subtasks = observation["subtasks"]
        here = subtasks[..., self._is_current].argmax(axis=-1)[..., None, None]
        row = np.take_along_axis(subtasks, here, axis=-2)[..., 0, :]
        task_type = row[..., self._types].argmax(axis=-1)
        context[..., self._context] = self._context_values
        is_there = workers[..., self._first_kind :].any(axis=-1)
        value = self._expected_value(workers, task_type)
        place = self._columns["expected_value"]
        workers[..., place] = np.where(is_there, value, workers[..., place])
        return {**observation, "workers": workers, "context": context}

    def _expected_value(
        self, workers: npt.NDArray[np.float32], task_type: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        price = workers[..., self._columns["price"]]
        latency = workers[..., self._columns["expected_latency"]]
        is_own = (price == self._price[task_type]) & (latency == self._latency[task_type])
        cost_usd = np.where(is_own, self._cost_usd[task_type], unsquash(price, self._cost_scale))
        latency_ms = np.where(
            is_own, self._latency_ms[task_type], unsquash(latency, self._time_scale)
        )
        charge = self._per_usd * cost_usd + self._per_ms * latency_ms
        success = workers[..., self._columns["predicted_success"]].astype(np.float64)
        value: npt.NDArray[np.float64] = 0.5 + 0.5 * np.maximum(-1.0, success - charge / self._paid)
        return value
