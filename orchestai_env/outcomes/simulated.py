"""Simulated outcomes: a pool's skills as tables that the transition draws from.

A call succeeds when  skill - difficulty_spread * d - quality_coupling * (1 - parent quality) + e
is positive. d, the hidden difficulty, is standard normal per episode and subtask, the same for all
workers. The noise e = sqrt(r) * a + sqrt(1 - r) * f has a part a that stays with the pair of
subtask and worker (r = retry_correlation), so that a retry of a worker that failed fails more
often, and a fresh part f. skill is set so that a first call with perfect parents succeeds with the
probability that WorkerSpec.skills states.
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
from orchestai_env.workers import WorkerPool

_NORMAL = NormalDist()
_LEVELS = 256
_INPUT_TOKENS = 200.0  # chosen: near the mean prompt of the recorded zeroeval queries (176)


class SimulationSettings(pydantic.BaseModel):
    """Parameters that all workers of a simulated source share."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    difficulty_spread: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.8
    """Standard deviation of hidden difficulty, in units of a call's noise; assumed."""
    retry_correlation: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.7
    """Share of the noise's variance that a retry of the same worker keeps; assumed."""
    quality_coupling: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.5
    """Loss of latent skill when the parents' quality falls from 1 to 0; assumed."""
    load_slowdown: Annotated[float, pydantic.Field(ge=0, le=10)] = 0.0
    """Relative latency that each call already running at the worker adds; assumed."""
    token_spread: Annotated[float, pydantic.Field(ge=0, le=3)] = 0.5
    """Standard deviation of the logarithm of a call's output tokens; assumed."""


def simulated_tables(
    pool: WorkerPool, task_types: Sequence[str], settings: SimulationSettings | None = None
) -> tuple[OutcomeTables, WorkerStatistics]:
    """Builds the tables of a simulated source, and what is known of its workers.

    Args:
        pool: workers; those without a skill for a task type are masked on it.
        task_types: vocabulary, T names.
        settings: the documented defaults where None.
    Raises:
        ConfigError: no worker of the pool serves some task type.
    """
    settings = settings or SimulationSettings()
    for task_type in task_types:
        if not any(task_type in worker.skills for worker in pool.workers):
            raise ConfigError(
                f"task type {task_type!r}: no worker of the pool has a skill for it; "
                "add one to worker_models or leave the type out"
            )
    capable, success, skill, tokens = _skill_tables(pool, task_types, settings)
    tables: dict[str, Any] = empty_tables()
    tables |= {
        "kind": np.array([SIMULATED]),
        "capable": capable,
        "skill": skill,
        "input_cost_usd": capable
        * np.array([_INPUT_TOKENS * w.input_usd_per_mtok / 1e6 for w in pool.workers]),
        "output_cost_usd": np.array([w.output_usd_per_mtok / 1e6 for w in pool.workers]),
        "output_tokens": tokens,
        "first_token_us": np.array([round(w.first_token_ms * 1e3) for w in pool.workers]),
        "token_ns": np.array([round(1e9 / w.tokens_per_s) for w in pool.workers]),
        "simulation": np.array(
            [
                settings.difficulty_spread,
                math.sqrt(settings.retry_correlation),
                math.sqrt(1.0 - settings.retry_correlation),
                settings.quality_coupling,
                settings.load_slowdown,
            ]
        ),
        "normal": np.array([_NORMAL.inv_cdf((i + 0.5) / 4096) for i in range(4096)]),
    }
    filled = OutcomeTables(**tables)
    return filled, _statistics(filled, success)


def _skill_tables(
    pool: WorkerPool, task_types: Sequence[str], settings: SimulationSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns capable, stated success and latent skill (T, W), and output tokens (T, W, L)."""
    shape = (len(task_types), len(pool))
    levels = np.array([_NORMAL.inv_cdf((i + 0.5) / _LEVELS) for i in range(_LEVELS)])
    total_sd = math.sqrt(1.0 + settings.difficulty_spread**2)
    capable = np.zeros(shape, np.uint8)
    success, skill = np.zeros(shape), np.zeros(shape)
    tokens = np.zeros((*shape, _LEVELS), np.int64)
    for w, worker in enumerate(pool.workers):
        for t, task_type in enumerate(task_types):
            known = worker.skills.get(task_type)
            if known is None:
                continue
            capable[t, w] = 1
            success[t, w] = known.success
            skill[t, w] = _NORMAL.inv_cdf(known.success) * total_sd
            spread = np.exp(settings.token_spread * levels)
            tokens[t, w] = np.maximum(1, np.round(known.output_tokens * spread))
    return capable, success, skill, tokens


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
