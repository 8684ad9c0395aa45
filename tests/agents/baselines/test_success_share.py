"""The share of success that agents of single calls count: tuned on training workflows."""

from __future__ import annotations

from agents.baselines.predictive import PredictThenOptimiseAgent
from agents.baselines.success_share import SHARES, tuned_success_share
from agents.evaluate import evaluate
from tests.agents.problems import builtin_setting


def test_tuned_share_earns_most_of_those_tried_on_training_workflows() -> None:
    setting = builtin_setting(200)
    tuned = tuned_success_share(setting, seed=0)

    def earned(share: float) -> float:
        agent = PredictThenOptimiseAgent(setting, success_share=share)
        return float(evaluate(agent, setting, seed=0).episode_return.mean())

    assert earned(tuned) == max(map(earned, SHARES))
    assert earned(tuned) > earned(1.0)


def test_smaller_share_calls_cheaper_workers() -> None:
    setting = builtin_setting(200)
    cost = [
        evaluate(
            PredictThenOptimiseAgent(setting, success_share=share), setting, seed=0
        ).cost_usd.mean()
        for share in (1.0, SHARES[-1])
    ]

    assert cost[1] < cost[0]
