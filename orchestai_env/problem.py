"""build_problem: what does not change while episodes run, as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import NONE, Problem
from orchestai_env.variation import spread_factors
from orchestai_env.workers import milliseconds_to_us


def build_problem(dataset: Dataset, rules: EpisodeRules, weights: RewardWeights) -> Problem:
    """Builds what does not change while episodes of a data set run.

    Raises:
        ConfigError: min_workers is larger than the pool.
    """
    workflows = dataset.workflows
    budget = np.inf if rules.cost_budget_usd is None else rules.cost_budget_usd
    deadline = NONE if rules.deadline_ms is None else milliseconds_to_us(rules.deadline_ms)
    fewest = rules.min_workers or len(dataset.pool)
    if fewest > len(dataset.pool):
        raise ConfigError(
            f"min_workers: expected at most the {len(dataset.pool)} workers of the pool, got "
            f"{fewest}"
        )
    spreads = (rules.preference_spread, rules.price_spread, rules.latency_spread)
    varies = rules.shuffle_workers or fewest < len(dataset.pool) or max(spreads) > 1.0
    max_steps = rules.max_steps or workflows.max_subtasks * rules.max_attempts
    whole = (
        rules.max_attempts,
        rules.max_parallel_tasks,
        int(rules.on_failure == "continue"),
        max_steps,
        deadline,
        int(rules.shuffle_workers),
        fewest,
        int(varies),
    )

    def used(table: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Leaves out padding that no workflow needs, so that more of the table stays cached."""
        return np.ascontiguousarray(table[:, : workflows.num_subtasks.max()])

    return Problem(
        num_subtasks=workflows.num_subtasks,
        task_type=used(workflows.task_type),
        query=used(workflows.query),
        instruction=workflows.instruction,
        num_parents=used(workflows.num_parents),
        parents=used(workflows.parents),
        num_children=used(workflows.num_children),
        children=used(workflows.children),
        concurrency=np.array([w.concurrency for w in dataset.pool.workers], np.int64),
        cost_upper=dataset.statistics.cost_upper_usd,
        whole=np.array(whole, np.int64),
        attempt_share=np.array([1.0 / rules.max_attempts]),
        budget_usd=np.array([budget]),
        weights=weights.as_array(),
        spread=np.stack([spread_factors(spread) for spread in spreads]),
        outcomes=dataset.outcomes,
    )
