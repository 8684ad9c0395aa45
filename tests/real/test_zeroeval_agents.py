"""The order of the baselines on the recorded outcomes of real LLMs, where the data is at hand."""

from __future__ import annotations

import numpy as np
import pytest

from agents.agent import Agent, Setting
from agents.baselines.bounds import HindsightAgent
from agents.baselines.simple import RandomAgent
from agents.baselines.tables import FixedTableAgent, TableAgent
from agents.config import ExperimentSettings, profile_weights
from agents.evaluate import evaluate
from agents.tune_tables import tune_escalation_table, tune_lookup_table
from orchestai_env.datasets.folder import RecordedFolder
from tests.real.conftest import CONFIG

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_escalation_beats_lookup_and_hindsight_beats_all(
    imported: RecordedFolder, config: ExperimentSettings
) -> None:
    """Tables are tuned on training queries and compared on test queries, balanced profile.

    In docs/results.md random scores about 1, lookup 1.4, escalation 3.3 and hindsight 5.9 there.
    """
    weights = profile_weights(config, CONFIG, "balanced")

    def setting(split: str) -> Setting:
        return Setting(dataset=imported.dataset(split), rules=config.rules(), weights=weights)

    train, test = setting("train"), setting("test")
    agents: dict[str, Agent] = {
        "random": RandomAgent(0),
        "lookup": FixedTableAgent(test, tune_lookup_table(train, seed=0)),
        "escalation": TableAgent(test, tune_escalation_table(train, seed=0, restarts=1)),
        "hindsight": HindsightAgent(),
    }

    outcomes = {name: evaluate(agent, test, seed=0) for name, agent in agents.items()}
    score = {name: float(np.mean(found.episode_return)) for name, found in outcomes.items()}

    assert score["random"] < score["escalation"] - 1
    assert score["lookup"] < score["escalation"] - 1
    assert score["escalation"] < score["hindsight"] - 1
    assert all(found.valid.all() for found in outcomes.values())
