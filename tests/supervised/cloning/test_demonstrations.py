"""Demonstrations: the states that a player meets, the expert's values there, and soft targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import Setting
from agents.baselines.simple import LowestFeatureAgent
from agents.config import Phase1Settings
from agents.evaluate import evaluate, start_episodes
from orchestai_env.errors import ConfigError
from orchestai_env.oracle import Lookahead
from supervised.cloning.demonstrations import (
    Demonstrations,
    ExpertPlayer,
    PolicyPlayer,
    collect_demonstrations,
    soft_targets,
)
from supervised.experts import EXPERTS, Expert, HindsightExpert
from tests.agents.problems import builtin_setting, toy_setting
from tests.orchestai_env.toy import Instance, chain, lose, win


def collect(
    setting: Setting | None = None,
    *,
    expert: Expert | None = None,
    seed: int = 0,
    random_share: float = 0.3,
    temperature: float = 1.0,
) -> Demonstrations:
    """Lets the expert, hindsight by default, play; 30 built-in workflows by default."""
    return collect_demonstrations(
        setting or builtin_setting(30),
        expert or HindsightExpert(),
        ExpertPlayer(random_share, seed),
        seed=seed,
        temperature=temperature,
    )


def test_every_workflow_is_played_and_every_decision_labelled() -> None:
    data = collect()

    assert set(data.workflow.tolist()) == set(range(30))
    assert len(data) == len(data.workflow) > 30
    assert all(len(values) == len(data) for values in data.observation.values())
    np.testing.assert_allclose(data.target.sum(1), 1.0, rtol=1e-5)
    assert (data.target[data.observation["action_mask"] == 0] == 0).all()
    assert data.target.dtype == np.float32


def test_labels_are_softmax_of_the_hindsight_utility() -> None:
    """By hand: 10.5 - 1 USD - 1 s, 10.5 - 0.5 - 2 and -0.25 - 0 for the three workers."""
    workers = (win(1000, 1.0), win(2000, 0.5), lose(0, 0.25))
    setting = toy_setting([Instance(calls=(workers,))])

    data = collect(setting, random_share=0.0, temperature=2.0)

    odds = np.exp(np.array([8.5, 8.0, -0.25]) / 2.0)
    assert data.target == pytest.approx((odds / odds.sum())[None], rel=1e-5)


def test_expert_plays_the_best_worker_unless_it_explores() -> None:
    """Without exploring the expert never fails here; with it, states after a failure are met."""
    setting = toy_setting([chain((win(1, 0.1), lose(1, 0.1)), (lose(1, 0.1), win(1, 0.1)))] * 40)

    expert = collect(setting, random_share=0.0)
    explored = collect(setting, random_share=0.5)

    assert len(expert) == 2 * 40
    assert len(explored) > len(expert)
    failed = explored.observation["workers"][:, :, 5].astype(np.float64)
    assert failed.any() and not expert.observation["workers"][:, :, 5].any()
    after_failure = failed.any(axis=1)
    assert (explored.target[after_failure].max(axis=1) > 0.99).all()  # labels stay the expert's


def test_same_seed_gives_the_same_decisions() -> None:
    first, again, other = (collect(seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.target, again.target)
    np.testing.assert_array_equal(first.workflow, again.workflow)
    for key, values in first.observation.items():
        np.testing.assert_array_equal(values, again.observation[key])
    assert first.target.shape != other.target.shape or (first.target != other.target).any()


def test_take_keeps_the_chosen_rows_together() -> None:
    data = collect()
    chosen = data.workflow % 3 == 0

    part = data.take(chosen)

    assert set(part.workflow.tolist()) == set(range(0, 30, 3))
    np.testing.assert_array_equal(part.target, data.target[chosen])
    np.testing.assert_array_equal(part.observation["context"], data.observation["context"][chosen])


def test_every_expert_of_the_settings_can_be_built() -> None:
    setting = builtin_setting(3)
    names = Phase1Settings.model_json_schema()["properties"]["expert"]["enum"]
    rows = np.arange(3)

    assert sorted(EXPERTS) == sorted(names)
    for build in EXPERTS.values():
        episodes = start_episodes(setting, seed=0)
        values = build(setting, Phase1Settings(lookahead_samples=2), 0).values(episodes, rows)
        assert values.shape == (3, len(setting.dataset.pool))
        assert (np.isneginf(values) == (episodes.state.mask == 0)).all()


def test_labels_of_lookahead_are_softmax_of_its_values() -> None:
    setting = builtin_setting(20)
    expert = Lookahead(setting.dataset, num_samples=8, seed=3)
    values = expert.values(start_episodes(setting, seed=5), np.arange(20))

    data = collect(setting, expert=expert, seed=5, temperature=0.7)

    np.testing.assert_array_equal(data.target[:20], soft_targets(values, 0.7))
    np.testing.assert_array_equal(data.workflow[:20], np.arange(20))


def test_lookahead_labels_know_no_outcome() -> None:
    """Hindsight labels change with the luck of the episodes; lookahead's, at the start, do not."""
    setting = builtin_setting(20)
    lookahead = Lookahead(setting.dataset, num_samples=4)

    def first_targets(expert: Expert, seed: int) -> np.ndarray:
        return collect(setting, expert=expert, seed=seed).target[:20]

    hindsight = HindsightExpert()
    assert (first_targets(lookahead, 1) == first_targets(lookahead, 2)).all()
    assert (first_targets(hindsight, 1) != first_targets(hindsight, 2)).any()


def test_policy_player_meets_the_states_of_the_policy() -> None:
    setting = builtin_setting(20)
    agent = LowestFeatureAgent(setting, "price")

    data = collect_demonstrations(
        setting, HindsightExpert(), PolicyPlayer(agent, 0), seed=0, temperature=1.0
    )

    decisions = evaluate(agent, setting, seed=0).num_calls
    assert np.bincount(data.workflow).tolist() == decisions.tolist()


def test_states_without_an_allowed_worker_are_left_out() -> None:
    """The second workflow costs more than its budget, so that it fails without a decision."""
    instances = [Instance(calls=((win(1000, 0.1), win(2000, 0.2)),))]
    instances.append(Instance(calls=((win(1000, 5.0), win(2000, 6.0)),), types=(1,)))
    setting = toy_setting(instances * 3, cost_budget_usd=1.0)

    data = collect(setting)

    assert data.workflow.tolist() == [0, 2, 4]
    assert (data.observation["action_mask"] == 1).all()


def test_workflows_without_a_decision_are_refused() -> None:
    setting = toy_setting([chain((win(1000, 5.0), win(2000, 6.0)))], cost_budget_usd=1.0)

    with pytest.raises(ConfigError, match=r"none of 1 training workflows has a worker .* raise"):
        collect(setting)


def test_concatenate_puts_parts_behind_each_other() -> None:
    first, second = collect(seed=1), collect(seed=2)

    both = Demonstrations.concatenate([first, second])

    assert len(both) == len(first) + len(second)
    np.testing.assert_array_equal(both.target[len(first) :], second.target)
    np.testing.assert_array_equal(
        both.observation["workers"][: len(first)], first.observation["workers"]
    )


@given(
    utility=st.lists(
        st.lists(st.floats(-1e4, 1e4) | st.just(-np.inf), min_size=3, max_size=3).filter(
            lambda row: max(row) > -np.inf
        ),
        min_size=1,
        max_size=4,
    ),
    temperature=st.floats(0.01, 100.0),
)
def test_soft_targets_are_distributions(utility: list[list[float]], temperature: float) -> None:
    values = np.array(utility)

    found = soft_targets(values, temperature)

    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert (found[np.isneginf(values)] == 0).all()
    best = values == values.max(axis=1, keepdims=True)
    assert (found >= found.max(axis=1, keepdims=True))[best].all()


def test_temperature_decides_how_sharp_targets_are() -> None:
    utility = np.array([[1.0, 0.0]])

    cold, warm = soft_targets(utility, 0.01)[0], soft_targets(utility, 100.0)[0]

    assert cold == pytest.approx([1.0, 0.0], abs=1e-9)
    assert warm == pytest.approx([0.5, 0.5], abs=0.01)
