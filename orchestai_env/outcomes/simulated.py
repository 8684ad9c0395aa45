"""Simulated outcomes: a pool's skills as tables that the transition draws from.

A call succeeds when
    skill - difficulty_spread * d - kinship * c - quality_coupling * (1 - parent quality) + e
is positive, and the subtask is none of the unsolvable_share that no worker solves. d and c, the
hidden difficulty and character, are standard normal per episode and subtask, the same for all
workers. The noise e = sqrt(r) * a + sqrt(1 - r) * f has a part a that stays with the pair of
subtask and worker (r = retry_correlation), so that a retry of a worker that failed fails more
often, and a fresh part f. skill is set so that a first call with perfect parents succeeds with the
probability that WorkerSpec.skills states. The output tokens are log-normal; their logarithm may
rise with d and e (tokens_by_difficulty, tokens_by_luck), which leaves their distribution as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
import pydantic

from orchestai_env.errors import ConfigError
from orchestai_env.outcomes.tables import SIMULATED, OutcomeTables, WorkerStatistics, empty_tables
from orchestai_env.workers import TaskSkill, WorkerPool

_NORMAL = NormalDist()
_LEVELS = 256


class SimulationSettings(pydantic.BaseModel):
    """Parameters that all workers of a simulated source share."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    difficulty_spread: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.8
    """Standard deviation of hidden difficulty, in units of a call's noise, for pairs that have none
    of their own; assumed."""
    unsolvable_share: Annotated[float, pydantic.Field(ge=0, le=0.9)] = 0.0
    """Share of subtasks that no worker solves, such as those with a wrong check; assumed."""
    retry_correlation: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.7
    """Share of the noise's variance that a retry of the same worker keeps; assumed."""
    quality_coupling: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.5
    """Loss of latent skill when the parents' quality falls from 1 to 0; assumed."""
    load_slowdown: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.0
    """Relative latency that each call already running at the worker adds; assumed."""
    token_spread: Annotated[float, pydantic.Field(ge=0, le=3)] = 0.5
    """Standard deviation of the logarithm of a call's output tokens, for pairs that have none of
    their own; assumed."""


def simulated_tables(
    pool: WorkerPool, task_types: Sequence[str], settings: SimulationSettings | None = None
) -> tuple[OutcomeTables, WorkerStatistics]:
    """Builds the tables of a simulated source, and what is known of its workers.

    Args:
        pool: workers; those without a skill for a task type are masked on it.
        task_types: vocabulary, T names.
        settings: the documented defaults where None.
    Raises:
        ConfigError: no worker of the pool serves some task type; a pair's success is more than the
            solvable share, or its tokens depend on difficulty and luck more than they spread.
    """
    settings = settings or SimulationSettings()
    for task_type in task_types:
        if not any(task_type in worker.skills for worker in pool.workers):
            raise ConfigError(
                f"task type {task_type!r}: no worker of the pool has a skill for it; "
                "add one to worker_models or leave the type out"
            )
    pairs = _pair_tables(pool, task_types, settings)
    tables: dict[str, Any] = empty_tables()
    tables |= {
        "kind": np.array([SIMULATED]),
        **pairs,
        "output_cost_usd": np.array([w.output_usd_per_mtok / 1e6 for w in pool.workers]),
        "first_token_us": np.array([round(w.first_token_ms * 1e3) for w in pool.workers]),
        "token_ns": np.array([round(1e9 / w.tokens_per_s) for w in pool.workers]),
        "simulation": np.array(
            [
                settings.unsolvable_share,
                math.sqrt(settings.retry_correlation),
                math.sqrt(1.0 - settings.retry_correlation),
                settings.quality_coupling,
                settings.load_slowdown,
            ]
        ),
        "normal": np.array([_NORMAL.inv_cdf((i + 0.5) / 4096) for i in range(4096)]),
    }
    filled = OutcomeTables(**tables)
    return filled, _statistics(filled, _stated_success(pool, task_types))


def _pair_tables(
    pool: WorkerPool, task_types: Sequence[str], settings: SimulationSettings
) -> dict[str, np.ndarray]:
    """Returns the tables that have a row per task type and worker."""
    shape = (len(task_types), len(pool))
    levels = np.array([_NORMAL.inv_cdf((i + 0.5) / _LEVELS) for i in range(_LEVELS)])
    tables: dict[str, np.ndarray] = {
        "capable": np.zeros(shape, np.uint8),
        "skill": np.zeros(shape),
        "input_cost_usd": np.zeros(shape),
        "output_tokens": np.zeros((*shape, _LEVELS), np.int64),
        "difficulty": np.zeros((2, *shape)),
        "token_weight": np.zeros((3, *shape)),
    }
    for w, worker in enumerate(pool.workers):
        for t, task_type in enumerate(task_types):
            known = worker.skills.get(task_type)
            if known is None:
                continue
            where = f"worker {worker.name!r}, task type {task_type!r}"
            spread = _or(known.difficulty_spread, settings.difficulty_spread)
            token_spread = _or(known.token_spread, settings.token_spread)
            tokens = known.output_tokens * np.exp(token_spread * levels)
            total_sd = math.sqrt(1.0 + spread**2 + worker.kinship**2)
            tables["capable"][t, w] = 1
            tables["skill"][t, w] = total_sd * _solvable_probit(known, settings, where)
            tables["input_cost_usd"][t, w] = known.input_tokens * worker.input_usd_per_mtok / 1e6
            tables["output_tokens"][t, w] = np.maximum(1, np.round(tokens))
            tables["difficulty"][:, t, w] = spread, worker.kinship
            tables["token_weight"][:, t, w] = _token_weight(known, token_spread, where)
    return tables


def _or(own: float | None, shared: float) -> float:
    return shared if own is None else own


def _solvable_probit(known: TaskSkill, settings: SimulationSettings, where: str) -> float:
    """Returns the probit of a first call's success on a subtask that is not unsolvable."""
    solvable = 1.0 - settings.unsolvable_share
    if known.success >= solvable:
        raise ConfigError(
            f"{where}: expected a success below {solvable:g}, the share of subtasks that are "
            f"solvable, got {known.success:g}; lower it, or unsolvable_share"
        )
    return _NORMAL.inv_cdf(known.success / solvable)


def _token_weight(known: TaskSkill, spread: float, where: str) -> tuple[float, float, float]:
    """Returns the weights of difficulty, luck and the rest in the logarithm of the tokens."""
    by_difficulty, by_luck = known.tokens_by_difficulty, known.tokens_by_luck
    if by_difficulty == by_luck == 0.0:
        return 0.0, 0.0, 1.0
    if math.hypot(by_difficulty, by_luck) > spread:
        raise ConfigError(
            f"{where}: tokens_by_difficulty ({by_difficulty:g}) and tokens_by_luck ({by_luck:g}) "
            f"explain more than token_spread ({spread:g}); their squares may sum to its square"
        )
    weights = by_difficulty / spread, by_luck / spread
    return *weights, math.sqrt(max(0.0, 1.0 - weights[0] ** 2 - weights[1] ** 2))


def _stated_success(pool: WorkerPool, task_types: Sequence[str]) -> np.ndarray:
    """Returns the success that the skills state, float64 (T, W); 0 where there is none."""
    stated = [
        [worker.skills[name].success if name in worker.skills else 0.0 for worker in pool.workers]
        for name in task_types
    ]
    return np.array(stated)


def _statistics(tables: OutcomeTables, success: np.ndarray) -> WorkerStatistics:
    """Returns the exact means and the 95 % cost quantile that the tables imply."""
    tokens = tables.output_tokens
    cost = tables.input_cost_usd[..., None] + tokens * tables.output_cost_usd[:, None]
    latency_us = tables.first_token_us[:, None] + tokens * tables.token_ns[:, None] // 1000
    return WorkerStatistics(
        success=success,
        cost_usd=cost.mean(axis=-1),
        latency_ms=tables.capable * latency_us.mean(axis=-1) / 1000.0,
        cost_upper_usd=np.quantile(cost, 0.95, axis=-1),
    )
