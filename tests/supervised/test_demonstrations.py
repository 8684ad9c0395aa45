"""Demonstrations: the expert's decisions and their soft targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervised.demonstrations import Demonstrations, collect_demonstrations, soft_targets
from tests.agents.problems import builtin_setting, toy_setting
from tests.orchestai_env.toy import Instance, chain, lose, win


def collect(seed: int = 0, random_share: float = 0.3, temperature: float = 1.0) -> Demonstrations:
    return collect_demonstrations(
        builtin_setting(30), seed=seed, random_share=random_share, temperature=temperature
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

    data = collect_demonstrations(setting, seed=0, random_share=0.0, temperature=2.0)

    odds = np.exp(np.array([8.5, 8.0, -0.25]) / 2.0)
    assert data.target == pytest.approx((odds / odds.sum())[None], rel=1e-5)


def test_expert_plays_the_best_worker_unless_it_explores() -> None:
    """Without exploring the expert never fails here; with it, states after a failure are met."""
    setting = toy_setting([chain((win(1, 0.1), lose(1, 0.1)), (lose(1, 0.1), win(1, 0.1)))] * 40)

    expert = collect_demonstrations(setting, seed=0, random_share=0.0, temperature=1.0)
    explored = collect_demonstrations(setting, seed=0, random_share=0.5, temperature=1.0)

    assert len(expert) == 2 * 40
    assert len(explored) > len(expert)
    failed = explored.observation["workers"][:, :, 5].astype(np.float64)
    assert failed.any() and not expert.observation["workers"][:, :, 5].any()
    after_failure = failed.any(axis=1)
    assert (explored.target[after_failure].max(axis=1) > 0.99).all()  # labels stay the expert's


def test_same_seed_gives_the_same_decisions() -> None:
    first, again, other = collect(seed=1), collect(seed=1), collect(seed=2)

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
