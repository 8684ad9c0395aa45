"""The policy that phase 1 clones and phase 2 trains: masks, symmetry, and SB3's algorithms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib import TRPO, MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.agent import Setting
from agents.evaluate import KEYS, evaluate
from agents.policy import WorkerScoringPolicy, policy_keys
from orchestai_env.errors import CheckpointError, ConfigError
from orchestai_env.observation import ObservationLayout
from tests.agents.policies import (
    KINDS,
    Observations,
    assert_same,
    make_policy,
    make_vec_env,
    observations_of,
    probabilities,
    read_by,
    resized,
    values_of,
)
from tests.agents.problems import builtin_setting

ALGORITHMS: dict[Any, dict[str, Any]] = {
    PPO: {"batch_size": 16, "n_epochs": 1},
    MaskablePPO: {"batch_size": 16, "n_epochs": 1},
    TRPO: {"batch_size": 16},
    A2C: {},
}
BOTH_PPO: list[Any] = [PPO, MaskablePPO]
POLICY: Any = WorkerScoringPolicy
SETTING = builtin_setting(20)
OBSERVATION = observations_of(SETTING, 50, seed=3, embeddings=True)
FEW = {key: values[:12] for key, values in OBSERVATION.items()}
POLICIES = {kind: make_policy(SETTING, kind=kind) for kind in KINDS}

each_kind = pytest.mark.parametrize("kind", KINDS)


def new_model(algorithm: Any, kind: str = "mlp", *, embeddings: bool = False) -> BaseAlgorithm:
    model: BaseAlgorithm = algorithm(
        POLICY,
        make_vec_env(kind, embeddings=embeddings),
        n_steps=8,
        seed=0,
        device="cpu",
        policy_kwargs={"kind": kind, "hidden": 16, "embeddings": embeddings},
        **ALGORITHMS[algorithm],
    )
    return model


@each_kind
def test_keys_that_it_does_not_read_are_left_alone(kind: str) -> None:
    """So it can be asked in an environment that shows more than it was trained on."""
    policy = POLICIES[kind]
    read = read_by(policy, FEW)
    assert set(read) < set(FEW)

    found, _ = policy.predict(FEW, deterministic=True)
    expected, _ = policy.predict(read, deterministic=True)

    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: algorithm.__name__)
@pytest.mark.parametrize("embeddings", [False, True])
@each_kind
def test_every_weight_learns_in_every_algorithm(
    algorithm: Any, kind: str, embeddings: bool
) -> None:
    model = new_model(algorithm, kind, embeddings=embeddings)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}

    model.learn(64)

    assert model.num_timesteps == 64
    after = model.policy.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert all(torch.isfinite(value).all() for value in after.values())


@pytest.mark.parametrize("saved_by", BOTH_PPO)
@pytest.mark.parametrize("loaded_by", BOTH_PPO)
@each_kind
def test_zip_loads_in_both_ppos_with_equal_predictions(
    saved_by: Any, loaded_by: Any, kind: str, tmp_path: Path
) -> None:
    model = new_model(saved_by, kind).learn(64)
    model.save(tmp_path / "model.zip")

    loaded = loaded_by.load(tmp_path / "model.zip", device="cpu")

    observation = read_by(POLICIES[kind], OBSERVATION)
    np.testing.assert_array_equal(
        probabilities(loaded.policy, observation), probabilities(model.policy, observation)
    )
    np.testing.assert_array_equal(
        loaded.predict(observation, deterministic=True)[0],
        model.predict(observation, deterministic=True)[0],
    )
    if saved_by is loaded_by:  # a zip holds its algorithm's roll-out buffer too
        loaded.set_env(make_vec_env(kind))
        loaded.learn(32)


@each_kind
def test_policy_alone_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    policy = make_policy(SETTING, kind=kind, num_layers=1, num_heads=2, embeddings=True)
    policy.save(str(tmp_path / "policy.pth"))

    loaded = WorkerScoringPolicy.load(str(tmp_path / "policy.pth"), device="cpu")

    assert loaded.observation_keys == policy_keys(kind, True)
    np.testing.assert_array_equal(
        probabilities(loaded, OBSERVATION), probabilities(policy, OBSERVATION)
    )


@pytest.mark.parametrize("by_argument", [False, True])
@each_kind
def test_masked_workers_have_probability_zero(kind: str, by_argument: bool) -> None:
    policy = POLICIES[kind]
    mask = np.random.default_rng(0).random(OBSERVATION["action_mask"].shape) < 0.5
    mask[:, 2] = True
    if by_argument:
        found = probabilities(policy, OBSERVATION, mask)
    else:
        found = probabilities(policy, OBSERVATION | {"action_mask": mask.astype(np.int8)})

    assert (found[~mask] == 0).all()
    assert (found[mask] > 0).all()
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)


@each_kind
def test_mask_of_the_observation_and_of_the_argument_mean_the_same(kind: str) -> None:
    np.testing.assert_array_equal(
        probabilities(POLICIES[kind], OBSERVATION),
        probabilities(POLICIES[kind], OBSERVATION, OBSERVATION["action_mask"].astype(bool)),
    )


@each_kind
def test_sampled_and_best_actions_obey_the_mask(kind: str) -> None:
    policy, rows = POLICIES[kind], np.arange(50)
    observation = read_by(policy, OBSERVATION)

    for deterministic in (False, True):
        actions, _ = policy.predict(observation, deterministic=deterministic)
        assert observation["action_mask"][rows, actions].all()
    best, _ = policy.predict(observation, deterministic=True)
    assert best.tolist() == probabilities(policy, observation).argmax(1).tolist()


@each_kind
def test_one_observation_is_predicted_as_in_a_batch(kind: str) -> None:
    policy = POLICIES[kind]
    observation = read_by(policy, OBSERVATION)
    together, _ = policy.predict(observation, deterministic=True)

    alone = [
        policy.predict({key: values[r] for key, values in observation.items()}, deterministic=True)
        for r in range(10)
    ]

    assert [int(action) for action, _ in alone] == together[:10].tolist()


@settings(max_examples=25)
@given(order=st.permutations(range(8)))
@each_kind
def test_permuted_workers_have_permuted_probabilities(kind: str, order: list[int]) -> None:
    permuted = FEW | {key: FEW[key][:, order] for key in ("workers", "action_mask")}
    assert_same(POLICIES[kind], FEW, POLICIES[kind], permuted, np.argsort(order))


@each_kind
def test_workers_and_states_differ_in_probability(kind: str) -> None:
    """So the tests of symmetry say something."""
    found = probabilities(POLICIES[kind], OBSERVATION)

    assert found.std(axis=1).min() > 0.01
    assert found.std(axis=0).max() > 0.01
    assert values_of(POLICIES[kind], OBSERVATION).std() > 0.01


@settings(max_examples=25)
@given(places=st.lists(st.integers(0, 8), min_size=1, max_size=3))
@each_kind
def test_absent_workers_change_nothing(kind: str, places: list[int]) -> None:
    """An absent worker is a row of zeros that is masked; probabilities and value stay."""
    wider = FEW | {
        key: np.insert(FEW[key], places, 0, axis=1) for key in ("workers", "action_mask")
    }
    there = np.insert(np.ones(8, bool), places, False)
    policy = POLICIES[kind]

    assert_same(policy, FEW, resized(policy, wider), wider, np.flatnonzero(there))


@each_kind
def test_masked_workers_do_not_change_the_value(kind: str) -> None:
    """So values are comparable across pools, whether workers are masked or left out."""
    policy = POLICIES[kind]
    mask = OBSERVATION["action_mask"].copy()
    mask[:, [1, 4]] = 0
    mask[:, 0] = 1
    masked = OBSERVATION | {"action_mask": mask}
    fewer = masked | {
        key: np.delete(masked[key], [1, 4], axis=1) for key in ("workers", "action_mask")
    }

    kept = np.array([0, 2, 3, 5, 6, 7])
    assert_same(resized(policy, fewer), fewer, policy, masked, kept)


@settings(max_examples=25)
@given(data=st.data())
@each_kind
def test_order_and_padding_of_subtasks_change_nothing(kind: str, data: st.DataObject) -> None:
    padding = data.draw(st.integers(0, 4))
    order = data.draw(st.permutations(range(6 + padding)))
    rows = np.pad(FEW["subtasks"], ((0, 0), (0, padding), (0, 0)))
    links = np.pad(FEW["adjacency"], ((0, 0), (0, padding), (0, padding)))
    changed = FEW | {
        "subtasks": rows[:, order],
        "adjacency": links[:, order][:, :, order],
    }
    policy = POLICIES[kind]

    assert_same(policy, FEW, resized(policy, changed), changed)


@each_kind
def test_weights_serve_another_pool_and_longer_workflows(kind: str) -> None:
    policy = POLICIES[kind]
    setting = builtin_setting(20)
    names = setting.dataset.pool.names
    fewer = Setting(
        dataset=setting.dataset.with_workers([*names[5::-1]]),
        rules=setting.rules,
        weights=setting.weights,
    )
    other = make_policy(fewer, kind=kind)
    other.load_state_dict(policy.state_dict())

    assert evaluate(other, fewer, seed=0).valid.all()


@each_kind
@pytest.mark.parametrize("embeddings", [False, True])
def test_policy_says_which_keys_it_reads(kind: str, embeddings: bool) -> None:
    policy = make_policy(SETTING, kind=kind, embeddings=embeddings)

    expected = {*KEYS}
    expected |= {"adjacency"} if kind == "attention" else set()
    expected |= {"instruction", "subtask"} if embeddings else set()
    assert policy.observation_keys == policy_keys(kind, embeddings)
    assert set(policy.observation_keys) == expected


@each_kind
def test_embeddings_count_where_they_are_read(kind: str) -> None:
    changed = OBSERVATION | {"subtask": -OBSERVATION["subtask"]}
    reading = make_policy(SETTING, kind=kind, embeddings=True)

    assert np.abs(OBSERVATION["subtask"]).max() > 0
    difference = probabilities(reading, OBSERVATION) - probabilities(reading, changed)
    assert np.abs(difference).max() > 1e-3
    np.testing.assert_array_equal(
        probabilities(POLICIES[kind], OBSERVATION), probabilities(POLICIES[kind], changed)
    )


@each_kind
def test_last_observation_of_an_episode_has_a_finite_value(kind: str) -> None:
    """No worker, no subtask: SB3 asks for the value of such a state where an episode is cut."""
    empty: Observations = {key: np.zeros_like(values) for key, values in OBSERVATION.items()}

    assert np.isfinite(values_of(POLICIES[kind], empty)).all()


@pytest.mark.parametrize("missing", policy_keys("attention", True))
def test_missing_key_is_named(missing: str) -> None:
    keys = [key for key in policy_keys("attention", True) if key != missing]
    space = ObservationLayout.of(SETTING.dataset, keys).space

    with pytest.raises(CheckpointError, match=rf"reads the observation keys \['{missing}'\]"):
        WorkerScoringPolicy(
            space, spaces.Discrete(8), lambda _: 0.0, kind="attention", embeddings=True
        )


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.policy.kind: unknown kind 'gru'.*attention"):
        policy_keys("gru")


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_heads: expected a divisor of hidden, 16, got 3"):
        make_policy(SETTING, kind="attention", num_heads=3)
