"""What a call does, as data: the arrays that every outcome source gives to the transition."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RECORDED, SIMULATED, LIVE = 0, 1, 2
"""Values of `OutcomeTables.kind`; a live call happens elsewhere, see live.py."""


class OutcomeTables(NamedTuple):
    """Arrays of one outcome source; those of the other kind have length 1 and are never read.

    Q queries, W workers, R trials, T task types, L levels of the token distribution.
    """

    kind: npt.NDArray[np.int64]
    """int64 (1,); RECORDED, SIMULATED or LIVE."""
    num_trials: npt.NDArray[np.int32]
    """int32 (Q, W); recorded trials of the pair, 0 = unrecorded (masked)."""
    success: npt.NDArray[np.uint8]
    """uint8 (Q, W, R); 1 = score at or above the source's threshold."""
    quality: npt.NDArray[np.float64]
    """float64 (Q, W, R), 0..1; the score."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (Q, W, R) [USD], >= 0."""
    latency_us: npt.NDArray[np.int64]
    """int64 (Q, W, R) [us], >= 0."""
    capable: npt.NDArray[np.uint8]
    """uint8 (T, W); 1 where the worker can serve the task type."""
    skill: npt.NDArray[np.float64]
    """float64 (T, W); latent skill in standard deviations of a call's noise."""
    input_cost_usd: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; what a call costs before its output."""
    output_cost_usd: npt.NDArray[np.float64]
    """float64 (W,) [USD per output token]."""
    output_tokens: npt.NDArray[np.int64]
    """int64 (T, W, L) [tokens]; equally likely levels, ascending."""
    difficulty: npt.NDArray[np.float64]
    """float64 (2, T, W); what a standard deviation of hidden difficulty, and of hidden character,
    takes from the skill."""
    token_weight: npt.NDArray[np.float64]
    """float64 (3, T, W); weights of difficulty, luck and the rest in the level of the tokens; their
    squares sum to 1."""
    first_token_us: npt.NDArray[np.int64]
    """int64 (W,) [us]."""
    token_ns: npt.NDArray[np.int64]
    """int64 (W,) [ns per output token]."""
    simulation: npt.NDArray[np.float64]
    """float64 (5,): unsolvable share, sqrt(r), sqrt(1 - r), quality coupling, load slowdown; see
    simulated.py."""
    normal: npt.NDArray[np.float64]
    """float64 (4096,); quantiles of the standard normal distribution at (i + 0.5) / 4096."""


_WORKER_AXIS = {
    RECORDED: {"num_trials": 1, "success": 1, "quality": 1, "cost_usd": 1, "latency_us": 1},
    LIVE: {"capable": 1},
    SIMULATED: {
        "capable": 1,
        "skill": 1,
        "input_cost_usd": 1,
        "output_cost_usd": 0,
        "output_tokens": 1,
        "difficulty": 2,
        "token_weight": 2,
        "first_token_us": 0,
        "token_ns": 0,
    },
}
"""Kind of source -> the arrays that hold something per worker, and on which axis."""


def select_workers(tables: OutcomeTables, workers: npt.NDArray[np.int64]) -> OutcomeTables:
    """Returns the outcomes of some workers only, in this order.

    A recorded call keeps its outcome. A simulated one does where its worker keeps its index, since
    random numbers go by index; the others keep their odds.

    Args:
        tables: of one source.
        workers: int64 (V,), 0..W-1; none twice.
    """
    axes = _WORKER_AXIS[int(tables.kind[0])]
    kept = {name: _taken(getattr(tables, name), workers, axis) for name, axis in axes.items()}
    return tables._replace(**kept)


def _taken(table: npt.NDArray[Any], workers: npt.NDArray[np.int64], axis: int) -> npt.NDArray[Any]:
    return np.ascontiguousarray(np.take(table, workers, axis))


def empty_tables() -> dict[str, npt.NDArray[np.generic]]:
    """Returns every field of OutcomeTables with the right dtype and length 1 in each dimension."""
    return {
        "kind": np.zeros(1, np.int64),
        "num_trials": np.zeros((1, 1), np.int32),
        "success": np.zeros((1, 1, 1), np.uint8),
        "quality": np.zeros((1, 1, 1)),
        "cost_usd": np.zeros((1, 1, 1)),
        "latency_us": np.zeros((1, 1, 1), np.int64),
        "capable": np.zeros((1, 1), np.uint8),
        "skill": np.zeros((1, 1)),
        "input_cost_usd": np.zeros((1, 1)),
        "output_cost_usd": np.zeros(1),
        "output_tokens": np.zeros((1, 1, 1), np.int64),
        "difficulty": np.zeros((2, 1, 1)),
        "token_weight": np.zeros((3, 1, 1)),
        "first_token_us": np.zeros(1, np.int64),
        "token_ns": np.zeros(1, np.int64),
        "simulation": np.zeros(5),
        "normal": np.zeros(4096),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerStatistics:
    """What is known of the workers before a call; of recorded data, from training queries only."""

    success: npt.NDArray[np.float64]
    """float64 (T, W), 0..1; mean success."""
    cost_usd: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; mean cost of a call."""
    latency_ms: npt.NDArray[np.float64]
    """float64 (T, W) [ms]; mean latency of a call."""
    cost_upper_usd: npt.NDArray[np.float64]
    """float64 (T, W) [USD]; 95 % quantile, what the budget reserves for a call."""
    predicted_success: npt.NDArray[np.float32] | None = None
    """float32 (Q, W), 0..1; cross-fitted prediction per query, or None."""

    def select(self, workers: npt.NDArray[np.int64]) -> WorkerStatistics:
        """Returns what is known of some workers only, in this order.

        Args:
            workers: int64 (V,), 0..W-1; none twice.
        """
        predicted = self.predicted_success
        return WorkerStatistics(
            success=_taken(self.success, workers, 1),
            cost_usd=_taken(self.cost_usd, workers, 1),
            latency_ms=_taken(self.latency_ms, workers, 1),
            cost_upper_usd=_taken(self.cost_upper_usd, workers, 1),
            predicted_success=None if predicted is None else _taken(predicted, workers, 1),
        )
