"""OrchestAIEnv as Gymnasium, Stable-Baselines3 and any caller meet it."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.reward import RewardWeights
from tests.orchestai_env.play import assert_same_obs, play, random_actions
from tests.orchestai_env.strategies import Case, cases
from tests.orchestai_env.toy import ONE_SECOND, Instance, chain, lose, toy_env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def builtin() -> Dataset:
    return builtin_dataset("validation", num_workflows=40)


@pytest.mark.parametrize(
    "code",
    [
        "import orchestai_env, gymnasium; e = gymnasium.make('OrchestAI-v0')",
        "import gymnasium; e = gymnasium.make('orchestai_env:OrchestAI-v0')",
    ],
)
def test_make_works_in_a_fresh_process(code: str) -> None:
    code += "; print(e.reset(seed=1)[1]['action_mask'].any(), e.spec.id)"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert process.stdout.split() == ["True", "OrchestAI-v0"]
    assert process.stderr == ""


def test_make_passes_arguments_on() -> None:
    env = gym.make("OrchestAI-v0", split="test", max_attempts=1, observation=["action_mask"])
    plain = env.unwrapped

    assert isinstance(plain, OrchestAIEnv)
    assert plain.rules.max_attempts == 1
    assert list(env.observation_space) == ["action_mask"]  # type: ignore[call-overload]


def test_seed_gives_the_same_50_steps_twice(builtin: Dataset) -> None:
    first, second = OrchestAIEnv(builtin), OrchestAIEnv(builtin)
    assert_same_obs(first.reset(seed=7)[0], second.reset(seed=7)[0])
    actions = np.random.default_rng(1).integers(len(builtin.pool), size=50)
    for action in actions:
        a, b = first.step(action), second.step(action)
        assert_same_obs(a[0], b[0])
        assert a[1:4] == b[1:4]
        assert a[4]["reward_terms"] == b[4]["reward_terms"]
        if a[2] or a[3]:
            assert a[4]["episode_result"] == b[4]["episode_result"]
            assert_same_obs(first.reset()[0], second.reset()[0])


def test_seed_restarts_and_another_gives_other_episodes(builtin: Dataset) -> None:
    env = OrchestAIEnv(builtin)

    def results(seed: int) -> list[Any]:
        first = play(env, random_actions(8, 0), seed=seed)
        return [first.result, play(env, random_actions(8, 1)).result]

    assert results(3) == results(3)
    assert results(3) != results(4)


def test_reset_without_a_seed_works_and_episodes_differ(builtin: Dataset) -> None:
    env = OrchestAIEnv(builtin)
    results = {str(play(env, lambda obs: 0).result) for _ in range(20)}

    assert len(results) > 10


def test_reset_in_the_middle_of_an_episode_leaves_nothing_behind() -> None:
    instance = Instance(calls=((lose(10, 0.5),), (ONE_SECOND,), (ONE_SECOND,)))
    fresh = play(toy_env(instance, concurrency=(1,)), random_actions(1, 0))
    env = toy_env(instance, concurrency=(1,))
    for steps in (1, 2, 3):
        env.reset(seed=0)
        for _ in range(steps):
            env.step(0)
        assert env.current_subtask is not None
        again = play(env, random_actions(1, 0))
        assert again.result == fresh.result
        for obs, expected in zip(again.observations, fresh.observations, strict=True):
            assert_same_obs(obs, expected)


def test_reset_option_workflow_chooses_it(builtin: Dataset) -> None:
    env = OrchestAIEnv(builtin)
    for workflow in (0, 5, 39):
        obs, _ = env.reset(options={"workflow": workflow})
        assert obs["subtasks"][:, 0].sum() == builtin.workflows.num_subtasks[workflow]
        links = sorted(zip(*np.nonzero(obs["adjacency"]), strict=True))
        assert [(int(i), int(j)) for i, j in links] == list(builtin.workflows.links(workflow))


RULES = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(1, 4),
        "max_parallel_tasks": st.integers(1, 6),
        "on_failure": st.sampled_from(["abort", "continue"]),
        "cost_budget_usd": st.none() | st.floats(1e-4, 0.05),
        "deadline_ms": st.none() | st.floats(1.0, 60_000.0),
        "max_steps": st.none() | st.integers(1, 12),
    }
)
WEIGHTS = st.builds(
    RewardWeights,
    success_weight=st.floats(0, 100),
    cost_weight=st.floats(0, 1000),
    latency_weight=st.floats(0, 1),
    latency_unit=st.sampled_from(["ms", "s"]),
    shaping_weight=st.floats(0, 10),
)


@settings(max_examples=40)
@given(rules=RULES, weights=WEIGHTS, seed=st.integers(0, 2**32), data=st.data())
def test_simulated_random_episodes_keep_every_promise(
    builtin: Dataset, rules: dict[str, Any], weights: RewardWeights, seed: int, data: st.DataObject
) -> None:
    env = OrchestAIEnv(builtin, reward_weights=weights, **rules)
    policy = random_actions(len(builtin.pool), seed)

    assert len(play(env, policy, seed=seed).rewards) <= 20 * env.rules.max_attempts
    play(env, policy)
    play(env, policy, workflow=data.draw(st.integers(0, 39)))


@settings(max_examples=60)
@given(case=cases(), weights=WEIGHTS)
def test_recorded_random_episodes_keep_every_promise(case: Case, weights: RewardWeights) -> None:
    env = OrchestAIEnv(case.dataset(), reward_weights=weights, **case.rules)
    for seed in range(3):
        played = play(env, random_actions(len(case.concurrency), seed), seed=seed)
        subtasks = played.result.subtasks
        for i, j in case.instance.links:
            end, start = subtasks[i].end_ms, subtasks[j].start_ms
            if start is not None:
                assert subtasks[i].success
                assert end is not None and end <= start


def test_episodes_end_in_every_way(builtin: Dataset) -> None:
    # The random episodes above mean little unless each way to end comes up.
    env = OrchestAIEnv(builtin, max_attempts=2, max_steps=6, deadline_ms=20_000.0)
    ends = set()
    for seed in range(60):
        played = play(env, random_actions(8, seed), seed=seed)
        late = played.result.total_latency_ms == 20_000.0
        ends.add((played.terminated, played.result.success, late))

    assert ends == {
        (True, True, False),
        (True, False, False),
        (True, False, True),
        (False, False, False),
    }


@settings(max_examples=50)
@given(case=cases())
def test_mask_is_true_exactly_for_workers_that_are_called(case: Case) -> None:
    env = OrchestAIEnv(case.dataset(), **case.rules)
    env.reset(seed=0)
    for action in case.actions:
        current = env.current_subtask
        if current is None:
            return
        for w, allowed in enumerate(env.action_masks()):
            fork = copy.deepcopy(env)
            before = fork._info()["masked_actions"]
            *_, info = fork.step(w)
            called = fork._episodes.result(0).subtasks[current].worker
            assert info["masked_actions"] - before == int(not allowed)
            assert (called == f"worker-{w}") == allowed
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return


def test_observations_are_not_overwritten_by_later_steps() -> None:
    env = toy_env(chain((ONE_SECOND,), (ONE_SECOND,)))
    obs, info = env.reset(seed=0)
    kept, kept_mask = copy.deepcopy(obs), info["action_mask"].copy()
    env.step(0)

    assert_same_obs(obs, kept)
    np.testing.assert_array_equal(info["action_mask"], kept_mask)


def test_step_before_reset_and_after_the_end_asks_for_a_reset() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,),)))
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        env.step(0)
    env.reset(seed=0)
    assert env.step(0)[2]
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        env.step(0)
    env.reset()
    assert env.step(0)[2]


def test_terminal_observation_has_no_current_subtask_and_all_actions_open() -> None:
    env = toy_env(Instance(calls=((lose(10, 0.0), ()),)), max_attempts=1)
    env.reset(seed=0)
    obs, _, terminated, _, _ = env.step(0)
    columns = env.observation_layout.feature_names["subtasks"]

    assert terminated
    assert obs["action_mask"].tolist() == [1, 1]
    assert obs["subtasks"][:, columns.index("is_current")].max() == 0.0
    assert obs["subtasks"][0, columns.index("status_failed")] == 1.0


def test_stock_ppo_trains_on_the_registered_environment() -> None:
    env = gym.make("OrchestAI-v0", reward_weights={"latency_weight": 1.0e-5})
    agent = PPO("MultiInputPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0)
    before = [p.detach().clone() for p in agent.policy.parameters()]
    agent.learn(64)

    assert agent.num_timesteps == 64
    changed = [bool((p != q).any()) for p, q in zip(agent.policy.parameters(), before, strict=True)]
    assert any(changed)
    assert all(bool(p.isfinite().all()) for p in agent.policy.parameters())
