"""How much of a workflow's success one call's success is worth, to agents that look no further."""

from __future__ import annotations

import dataclasses

import numpy as np

from agents.agent import Setting
from agents.baselines.predictive import PredictThenOptimiseAgent
from agents.evaluate import evaluate

SHARES = tuple(float(share) for share in 2.0 ** (-0.5 * np.arange(9)))
"""Shares that are tried: 1, 0.71, 0.5 .. 0.06."""
_MOST_WORKFLOWS = 2000


def tuned_success_share(train: Setting, *, seed: int) -> float:
    """Finds the share under which predict-then-optimise earns most on training workflows.

    Counted in full, the success of each of several calls would pay for the same workflow, and the
    dearest worker would always seem worth its price. The success predictions that are stored with
    the data are cross-fitted, so that the share does not trust them too much; it serves the agents
    whose own predictions saw the training queries too.

    Args:
        train: the training split.
        seed: of simulated outcomes.
    """
    few = dataclasses.replace(train, dataset=train.dataset.first(_MOST_WORKFLOWS))
    agents = [PredictThenOptimiseAgent(few, success_share=share) for share in SHARES]
    earned = [evaluate(agent, few, seed=seed).episode_return.mean() for agent in agents]
    return SHARES[int(np.argmax(earned))]
