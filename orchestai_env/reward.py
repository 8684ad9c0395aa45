"""RewardWeights: the four weights of the reward with their units, and the return of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from orchestai_env.settings import StrictSettings

if TYPE_CHECKING:
    from orchestai_env.execution_result import ExecutionResult

REWARD_TERMS = ("success", "cost", "latency", "shaping")
"""Names of the reward terms, in the order of every array of them."""

_MS_PER_UNIT = {"ms": 1.0, "s": 1000.0}
_MOST = 1_000_000_000_000.0  # chosen: sums of such terms stay finite
Weight = Annotated[float, pydantic.Field(ge=0, le=_MOST, allow_inf_nan=False)]


class RewardWeights(StrictSettings):
    """Weights of the reward, each with its unit.

        r = success_weight * [workflow succeeds] - cost_weight * cost [USD]
            - latency_weight * time [latency_unit] + shaping_weight * newly succeeded subtasks

    The defaults are the literal formula 10*success - 0.1*USD - 0.01*ms + 0.1 per subtask. On pools
    of slow workers that abort on failure it rewards failing early, because seconds outweigh
    success; the profile `configs/rewards/balanced.yaml` does not.
    """

    success_weight: Weight = 10.0
    """Paid once, when the workflow succeeds."""
    cost_weight: Weight = 0.1
    """Charged per USD."""
    latency_weight: Weight = 0.01
    """Charged per `latency_unit` of makespan."""
    latency_unit: Literal["ms", "s"] = "ms"
    """Unit of time that `latency_weight` is per."""
    shaping_weight: Weight = 0.1
    """Paid for every subtask that succeeds."""

    def as_array(self) -> npt.NDArray[np.float64]:
        """Returns float64 (4,): success, per USD, per ms, per subtask; all >= 0."""
        latency_per_ms = self.latency_weight / _MS_PER_UNIT[self.latency_unit]
        return np.array(
            [self.success_weight, self.cost_weight, latency_per_ms, self.shaping_weight]
        )


def reward_terms(result: ExecutionResult, weights: RewardWeights) -> dict[str, float]:
    """Returns the four terms of a result's return, signed, by name (see REWARD_TERMS)."""
    per = weights.as_array()
    succeeded = sum(subtask.success for subtask in result.subtasks)
    return {
        "success": float(per[0]) * result.success,
        "cost": -float(per[1]) * result.total_cost,
        "latency": -float(per[2]) * result.total_latency_ms,
        "shaping": float(per[3]) * succeeded,
    }


def compute_reward(result: ExecutionResult, weights: RewardWeights | None = None) -> float:
    """Returns the return of an execution; the rewards of its episode sum to it (1e-6 relative).

    Args:
        result: what was executed; cost in USD, latency (makespan) in ms.
        weights: the literal formula where None.
    """
    return sum(reward_terms(result, weights or RewardWeights()).values())
