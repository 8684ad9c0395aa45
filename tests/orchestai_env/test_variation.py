"""What varies from episode to episode: within its bounds, by the seed, and nothing else."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.features import build_features
from orchestai_env.observation import WORKER_FEATURES
from orchestai_env.outcomes.tables import RECORDED
from orchestai_env.reward import RewardWeights
from orchestai_env.state import R_SHAPING, R_SUCCESS, STEPS, WORKFLOW
from orchestai_env.variation import spread_factors
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.play import assert_same_obs, play, random_actions
from tests.orchestai_env.strategies import Case, cases, variations

NUM_WORKERS = 8
WEIGHTS = RewardWeights(success_weight=7.0, cost_weight=150.0, latency_weight=2.0e-4)

SEEDS = st.integers(0, 2**32)


@functools.cache
def builtin() -> Dataset:
    """Not a fixture: hypothesis would write all of it beside a failing example."""
    return builtin_dataset("validation", num_workflows=40)


def rosters(env: OrchestAIEnv, seed: int, episodes: int) -> list[tuple[str | None, ...]]:
    """Returns the rosters of the first episodes of a seed."""
    drawn = []
    for number in range(episodes):
        env.reset(seed=seed if number == 0 else None)
        drawn.append(env.worker_names)
    return drawn


@settings(max_examples=60)
@given(rules=variations(NUM_WORKERS), seed=SEEDS)
def test_roster_holds_enough_workers_in_the_order_it_should(
    rules: dict[str, Any], seed: int
) -> None:
    env = OrchestAIEnv(builtin(), **rules)
    names = builtin().pool.names
    for roster in rosters(env, seed, 3):
        present = [name for name in roster if name is not None]
        assert len(roster) == NUM_WORKERS
        assert len(set(present)) == len(present)
        assert set(present) <= set(names)
        assert len(present) >= (rules["min_workers"] or NUM_WORKERS)
        if not rules["shuffle_workers"]:
            assert all(name in (None, names[a]) for a, name in enumerate(roster))


def test_every_number_and_every_order_of_workers_comes_up() -> None:
    few = rosters(OrchestAIEnv(builtin(), min_workers=1), 0, 300)
    sizes = {sum(name is not None for name in roster) for roster in few}
    # A workflow may need more than one worker, so 1 is rare.
    assert sizes >= set(range(2, NUM_WORKERS + 1))

    shuffled = rosters(OrchestAIEnv(builtin(), shuffle_workers=True), 0, 300)
    assert all(sorted(map(str, roster)) == sorted(builtin().pool.names) for roster in shuffled)
    for action in range(NUM_WORKERS):
        assert {roster[action] for roster in shuffled} == set(builtin().pool.names)


def can_be_served(env: OrchestAIEnv, workflow: int, subtask: int) -> bool:
    """Tells whether any worker of the whole pool can serve a subtask."""
    table, outcomes = env.dataset.workflows, env.dataset.outcomes
    if outcomes.kind[0] == RECORDED:
        return bool(outcomes.num_trials[table.query[workflow, subtask]].any())
    return bool(outcomes.capable[table.task_type[workflow, subtask]].any())


def assert_all_were_served(env: OrchestAIEnv, seed: int) -> None:
    """Plays an episode; no subtask fails for want of a worker that the whole pool has."""
    num_workers = len(env.dataset.pool)
    played = play(env, random_actions(num_workers, seed), seed=seed)
    workflow = int(env._episodes.state.episode[0, WORKFLOW])
    for i, subtask in enumerate(played.result.subtasks):
        if subtask.status == "failed" and subtask.attempts == 0:
            assert not can_be_served(env, workflow, i)


@settings(max_examples=40)
@given(rules=variations(NUM_WORKERS), seed=SEEDS)
def test_simulated_subtasks_find_a_worker(rules: dict[str, Any], seed: int) -> None:
    env = OrchestAIEnv(builtin(), on_failure="continue", **rules)
    assert_all_were_served(env, seed)
    assert env._episodes.state.episode[0, STEPS] > 0


@settings(max_examples=80)
@given(case=cases(), seed=SEEDS, data=st.data())
def test_recorded_subtasks_find_a_worker(case: Case, seed: int, data: st.DataObject) -> None:
    rules = case.rules | {"cost_budget_usd": None, "on_failure": "continue", "max_steps": None}
    rules |= data.draw(variations(len(case.concurrency)))
    assert_all_were_served(OrchestAIEnv(case.dataset(), **rules), seed)


@settings(max_examples=60)
@given(spread=st.floats(1.0, 1.0e6))
def test_factors_lie_log_uniformly_between_1_over_spread_and_spread(spread: float) -> None:
    factors = spread_factors(spread)

    assert factors.min() >= 1 / spread
    assert factors.max() <= spread
    assert (np.diff(factors) >= 0).all()
    np.testing.assert_allclose(factors * factors[::-1], 1.0, rtol=1e-12)
    gaps = np.diff(np.log(factors))
    np.testing.assert_allclose(gaps, 2 * np.log(spread) / len(factors), rtol=1e-6, atol=1e-12)


@settings(max_examples=60)
@given(rules=variations(NUM_WORKERS), seed=SEEDS)
def test_factors_and_weights_stay_within_their_spreads(rules: dict[str, Any], seed: int) -> None:
    env = OrchestAIEnv(builtin(), reward_weights=WEIGHTS, **rules)
    env.reset(seed=seed)
    env.reset()
    state, given_weights = env._episodes.state, WEIGHTS.as_array()
    factor = state.weights[0] / given_weights
    slack = 1 + 1e-12

    for factors, spread in (
        (state.price[0], rules["price_spread"]),
        (state.slowness[0], rules["latency_spread"]),
        (factor, rules["preference_spread"]),
    ):
        assert (factors >= 1 / spread / slack).all()
        assert (factors <= spread * slack).all()
    for term in (R_SUCCESS, R_SHAPING):
        assert state.weights[0, term] == given_weights[term]
    if rules["preference_spread"] == 1.0:
        assert state.weights[0].tobytes() == given_weights.tobytes()
    if rules["price_spread"] == 1.0:
        assert state.price[0].tolist() == [1.0] * NUM_WORKERS
    if rules["latency_spread"] == 1.0:
        assert state.slowness[0].tolist() == [1.0] * NUM_WORKERS


def test_factors_are_drawn_each_by_itself() -> None:
    env = OrchestAIEnv(builtin(), price_spread=9.0, latency_spread=9.0, preference_spread=9.0)
    state, given = env._episodes.state, env.reward_weights.as_array()
    drawn = []
    for seed in range(400):
        env.reset(seed=seed)
        drawn.append([*state.price[0], *state.slowness[0], *(state.weights[0, 1:3] / given[1:3])])
    logs = np.log(drawn) / np.log(9.0)

    # Uniform over -1..1: mean 0, variance 1/3; five standard errors of 400 draws.
    assert np.abs(logs.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 400)
    assert np.abs(logs.var(axis=0) - 1 / 3).max() < 0.1
    correlation = np.corrcoef(logs, rowvar=False) - np.eye(logs.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(400)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_spread_1_and_all_workers_change_no_bit(seed: int) -> None:
    plain = play(OrchestAIEnv(builtin()), random_actions(NUM_WORKERS, seed), seed=seed)
    rules: dict[str, Any] = {"preference_spread": 1, "price_spread": 1, "latency_spread": 1}
    env = OrchestAIEnv(builtin(), min_workers=NUM_WORKERS, **rules)
    same = play(env, random_actions(NUM_WORKERS, seed), seed=seed)

    assert same.rewards == plain.rewards
    assert same.result == plain.result
    for obs, expected in zip(same.observations, plain.observations, strict=True):
        assert_same_obs(obs, expected)


@settings(max_examples=25)
@given(seed=SEEDS)
def test_shuffled_workers_are_the_same_workers_elsewhere(seed: int) -> None:
    env, plain = OrchestAIEnv(builtin(), shuffle_workers=True), OrchestAIEnv(builtin())
    obs, expected = env.reset(seed=seed)[0], plain.reset(seed=seed)[0]
    order = [builtin().pool.index(str(name)) for name in env.worker_names]
    rng = np.random.default_rng(seed)
    done = False
    while not done:
        for key in obs:
            rows = order if key in ("workers", "action_mask") else slice(None)
            np.testing.assert_array_equal(obs[key], expected[key][rows], err_msg=key)
        action = int(rng.choice(np.flatnonzero(env.action_masks())))
        obs, reward, done, _, info = env.step(action)
        expected, expected_reward, _, _, expected_info = plain.step(order[action])
        assert reward.hex() == expected_reward.hex()
    assert info["episode_result"] == expected_info["episode_result"]


@settings(max_examples=40)
@given(rules=variations(NUM_WORKERS), seed=SEEDS)
def test_seed_decides_what_varies(rules: dict[str, Any], seed: int) -> None:
    def drawn(env: OrchestAIEnv, seed: int) -> list[Any]:
        episodes = []
        for number in range(3):
            env.reset(seed=seed if number == 0 else None)
            state = env._episodes.state
            varied = (state.price, state.slowness, state.weights)
            episodes.append((env.worker_names, *(values.tolist() for values in varied)))
        return episodes

    env, other = OrchestAIEnv(builtin(), **rules), OrchestAIEnv(builtin(), **rules)
    assert drawn(env, seed) == drawn(other, seed) == drawn(env, seed)
    if rules["shuffle_workers"] or rules["price_spread"] > 1.001:
        assert drawn(env, seed) != drawn(env, seed + 1)


@settings(max_examples=15)
@given(rules=variations(NUM_WORKERS), seed=SEEDS)
def test_rows_of_a_batch_vary_as_single_environments(rules: dict[str, Any], seed: int) -> None:
    venv = OrchestAIVectorEnv(2, builtin(), **rules)
    envs = [OrchestAIEnv(builtin(), **rules) for _ in range(2)]
    batch = venv.reset(seed=seed)[0]
    singles = [env.reset(seed=seed + r)[0] for r, env in enumerate(envs)]
    rng = np.random.default_rng(seed % 1000)
    for _ in range(30):
        for r, obs in enumerate(singles):
            assert_same_obs(obs, {key: rows[r] for key, rows in batch.items()})
            assert venv.episodes.worker_names(r) == envs[r].worker_names
        actions = rng.integers(NUM_WORKERS, size=2)
        batch, rewards, *_ = venv.step(actions)
        for r, env in enumerate(envs):
            singles[r], reward, terminated, truncated, _ = env.step(actions[r])
            assert reward == rewards[r]
            if terminated or truncated:
                singles[r] = env.reset()[0]


@settings(max_examples=60)
@given(spread=st.floats(1.0, 1.0e6), seed=SEEDS)
def test_costs_scale_with_the_price_exactly_as_drawn(spread: float, seed: int) -> None:
    rules: dict[str, Any] = {"max_attempts": 1, "on_failure": "continue"}
    plain = play(OrchestAIEnv(builtin(), **rules), random_actions(NUM_WORKERS, seed), seed=seed)
    env = OrchestAIEnv(builtin(), price_spread=spread, **rules)
    varied = play(env, random_actions(NUM_WORKERS, seed), seed=seed)
    price = dict(zip(builtin().pool.names, env._episodes.state.price[0].tolist(), strict=True))

    assert varied.result.total_latency_ms == plain.result.total_latency_ms
    for subtask, expected in zip(varied.result.subtasks, plain.result.subtasks, strict=True):
        assert subtask.worker == expected.worker
        assert subtask.attempts in (0, 1)
        if subtask.worker is not None:
            assert subtask.cost == expected.cost * price[subtask.worker]


@settings(max_examples=60)
@given(spread=st.floats(1.0, 1.0e6), seed=SEEDS)
def test_latencies_scale_with_the_slowness_to_the_microsecond(spread: float, seed: int) -> None:
    rules: dict[str, Any] = {"max_attempts": 1, "on_failure": "continue"}
    plain = play(OrchestAIEnv(builtin(), **rules), lambda obs: 0, seed=seed)
    env = OrchestAIEnv(builtin(), latency_spread=spread, **rules)
    varied = play(env, lambda obs: 0, seed=seed)
    slowness = float(env._episodes.state.slowness[0, 0])

    # Calls may end in another order, and costs sum in that order.
    assert varied.result.total_cost == pytest.approx(plain.result.total_cost, rel=1e-12)
    for subtask, expected in zip(varied.result.subtasks, plain.result.subtasks, strict=True):
        assert subtask.success == expected.success
        assert subtask.latency_ms == pytest.approx(
            expected.latency_ms * slowness, rel=1e-9, abs=0.0006
        )


def test_observation_shows_the_latency_of_the_episode() -> None:
    env = OrchestAIEnv(builtin(), latency_spread=4.0)
    obs, _ = env.reset(seed=0)
    shown = obs["workers"][:, WORKER_FEATURES.index("expected_latency")].astype(np.float64)
    task_type = obs["subtasks"][env.current_subtask, 1 : 1 + len(builtin().task_types)].argmax()
    known = build_features(builtin())

    latency_us = known.expected_us[task_type] * env._episodes.state.slowness[0]
    np.testing.assert_allclose(shown, latency_us / (latency_us + known.scale[1]), rtol=1e-6)


def test_absent_workers_show_nothing_and_cannot_be_called() -> None:
    env = OrchestAIEnv(builtin(), min_workers=1)
    for seed in range(20):
        obs, _ = env.reset(seed=seed)
        absent = [name is None for name in env.worker_names]
        assert not obs["workers"][absent].any()
        assert not obs["action_mask"][absent].any()
        present = set(env.worker_names)
        result = play(env, random_actions(NUM_WORKERS, seed), seed=seed).result
        assert {subtask.worker for subtask in result.subtasks} - {None} <= present
