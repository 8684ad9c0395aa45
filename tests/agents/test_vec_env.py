"""OrchestAIVecEnv keeps the contract of Stable-Baselines3's VecEnv."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

from agents.evaluate import KEYS
from agents.policy import WorkerScoringPolicy
from agents.vec_env import OrchestAIVecEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.state import CURRENT
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.agents.problems import WEIGHTS

POLICY: Any = WorkerScoringPolicy
DATASET = builtin_dataset(num_workflows=20, max_subtasks=6)


def make(num_envs: int = 4, seed: int = 0, reward_scale: float = 1.0, **arguments: Any) -> Any:
    arguments = {"observation": KEYS, **arguments}
    venv = OrchestAIVectorEnv(num_envs, DATASET, reward_weights=WEIGHTS, **arguments)
    return OrchestAIVecEnv(venv, seed=seed, reward_scale=reward_scale)


def random_actions(env: Any, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.integers(env.action_space.n, size=env.num_envs)


def test_rows_equal_single_environments() -> None:
    """Row i is an OrchestAIEnv seeded with seed + i, restarted at the end of each episode."""
    env, rng = make(num_envs=3, seed=11), np.random.default_rng(0)
    singles = [OrchestAIEnv(DATASET, reward_weights=WEIGHTS, observation=KEYS) for _ in range(3)]
    observation = env.reset()
    expected = [single.reset(seed=11 + i)[0] for i, single in enumerate(singles)]
    num_ended = 0
    for _ in range(40):
        for i in range(3):
            for key in KEYS:
                np.testing.assert_array_equal(observation[key][i], expected[i][key])
        actions = random_actions(env, rng)
        observation, rewards, dones, infos = env.step(actions)
        for i, single in enumerate(singles):
            obs, reward, terminated, truncated, info = single.step(actions[i])
            assert rewards[i] == np.float32(reward)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                num_ended += 1
                for key in KEYS:
                    np.testing.assert_array_equal(infos[i]["terminal_observation"][key], obs[key])
                assert infos[i]["is_success"] == info["is_success"]
                assert infos[i]["total_cost"] == info["episode_result"].total_cost
                assert infos[i]["total_latency_ms"] == info["episode_result"].total_latency_ms
                obs = single.reset()[0]
            expected[i] = obs
    assert num_ended > 5


@pytest.mark.parametrize(("max_steps", "truncated"), [(1, True), (None, False)])
def test_info_tells_truncation(max_steps: int | None, truncated: bool) -> None:
    env, rng = make(max_steps=max_steps), np.random.default_rng(0)
    env.reset()

    told = []
    for _ in range(20):
        _, _, dones, infos = env.step(random_actions(env, rng))
        told += [infos[r]["TimeLimit.truncated"] for r in np.flatnonzero(dones)]

    assert told and set(told) == {truncated}


def test_info_has_unscaled_returns_while_rewards_are_scaled() -> None:
    plain, scaled = make(), make(reward_scale=0.125)
    plain.reset()
    scaled.reset()
    rng = np.random.default_rng(0)
    returns = np.zeros(4)
    ended = 0
    for _ in range(30):
        actions = random_actions(plain, rng)
        _, rewards, dones, _ = plain.step(actions)
        _, scaled_rewards, _, infos = scaled.step(actions)
        np.testing.assert_allclose(scaled_rewards, rewards * 0.125, rtol=1e-6)
        returns += rewards
        for r in np.flatnonzero(dones):
            assert infos[r]["episode"]["r"] == pytest.approx(returns[r], rel=1e-5)
            assert infos[r]["episode"]["l"] > 0
            returns[r] = 0.0
            ended += 1
    assert ended > 5


def test_reward_terms_are_the_parts_of_the_return() -> None:
    """Also where the weights differ from episode to episode."""
    env, rng = make(preference_spread=3.0), np.random.default_rng(0)
    env.reset()
    ended = 0
    for _ in range(40):
        _, _, dones, infos = env.step(random_actions(env, rng))
        for r in np.flatnonzero(dones):
            success, cost, latency, shaping = infos[r]["reward_terms"]
            assert success == 10.0 * infos[r]["is_success"] and shaping >= 0.0
            assert cost <= 0.0 and latency < 0.0
            total = success + cost + latency + shaping
            assert infos[r]["episode"]["r"] == pytest.approx(total, rel=1e-9)
            ended += 1
    assert ended > 5


def test_picks_are_counted_by_worker_whatever_action_it_is_on() -> None:
    """One call per step where there was a choice, also where a masked action was replaced."""
    env, rng = make(num_envs=16, shuffle_workers=True), np.random.default_rng(0)
    env.reset()
    expected = np.zeros_like(env.take_picks())
    replaced = 0
    for _ in range(30):
        actions, episodes = random_actions(env, rng), env.venv.episodes
        for r in range(16):
            mask, action = episodes.state.mask[r], actions[r]
            replaced += mask[action] == 0
            while mask[action] == 0:
                action = (action + 1) % len(mask)
            names, current = episodes.worker_names(r), episodes.state.episode[r, CURRENT]
            task_type = episodes.result(r).subtasks[current].type
            cell = DATASET.task_types.index(task_type), DATASET.pool.names.index(names[action])
            expected[cell] += mask.sum() > 1
        env.step(actions)

    picks = env.take_picks()

    np.testing.assert_array_equal(picks, expected)
    assert replaced > 0 and picks.sum() > 0
    assert env.take_picks().sum() == 0


def test_returned_arrays_are_not_overwritten_by_later_steps() -> None:
    env, rng = make(num_envs=8), np.random.default_rng(0)
    kept: list[Any] = []
    copies: list[Any] = []
    for _ in range(15):
        returned = env.step(random_actions(env, rng)) if kept else env.reset()
        kept.append(returned)
        copies.append(copy.deepcopy(returned))

    for returned, expected in zip(kept, copies, strict=True):
        np.testing.assert_equal(returned, expected)


def test_types_are_those_of_sb3() -> None:
    env = make()
    observation = env.reset()
    assert {key: values.dtype for key, values in observation.items()} == {
        key: space.dtype for key, space in env.observation_space.spaces.items()
    }

    _, rewards, dones, infos = env.step(np.zeros(4, np.int64))

    assert rewards.dtype == np.float32 and rewards.shape == (4,)
    assert dones.dtype == bool and len(infos) == 4


def test_seed_restarts_the_rows() -> None:
    env = make(seed=1)
    first = env.reset()
    second = env.reset()
    assert env.seed(1) == [1, 2, 3, 4]

    again = env.reset()

    np.testing.assert_equal(again, first)
    assert any((second[key] != first[key]).any() for key in KEYS)


def test_methods_and_attributes_are_given_per_row() -> None:
    env = make()
    env.reset()

    masks = env.env_method("action_masks")
    assert np.array_equal(np.stack(masks), env.action_masks())
    assert np.array_equal(env.env_method("action_masks", indices=[2])[0], masks[2])
    assert env.get_attr("num_envs", indices=[0, 1]) == [4, 4]
    env.set_attr("label", "x")
    assert env.get_attr("label") == ["x"] * 4
    assert env.env_is_wrapped(Monitor) == [False] * 4
    env.close()


def test_returned_arrays_are_those_of_the_batched_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env, rng = make(), np.random.default_rng(0)
    steps: list[Any] = []
    step_venv = env.venv.step

    def step(actions: Any) -> Any:
        steps.append(step_venv(actions))
        return steps[-1]

    monkeypatch.setattr(env.venv, "step", step)
    env.reset()
    num_ended = 0
    for _ in range(20):
        observation, _, dones, infos = env.step(random_actions(env, rng))
        own, *_, info = steps[-1]
        for key in KEYS:
            assert observation[key] is own[key]
            for r in np.flatnonzero(dones):
                final = infos[r]["terminal_observation"][key]
                assert np.shares_memory(final, info["final_obs"][key][r])
        num_ended += int(dones.sum())
    assert num_ended > 5


NORMALISED = ["subtasks", "workers", "context"]


def test_vec_normalize_leaves_masks_and_adjacency_alone() -> None:
    plain = make(observation=None)
    env = VecNormalize(make(observation=None), norm_obs_keys=NORMALISED)
    rng = np.random.default_rng(0)
    raw: Any = plain.reset()
    observation: Any = env.reset()
    finals, raw_finals = [], []
    for _ in range(25):
        np.testing.assert_equal(env.get_original_obs(), raw)
        for key in set(raw) - set(NORMALISED):
            np.testing.assert_array_equal(observation[key], raw[key], err_msg=key)
        actions = random_actions(env, rng)
        raw, _, dones, raw_infos = plain.step(actions)
        observation, _, _, infos = env.step(actions)
        for r in np.flatnonzero(dones):
            finals.append(infos[r]["terminal_observation"])
            raw_finals.append(raw_infos[r]["terminal_observation"])
    assert len(finals) > 5
    for final, expected in zip(finals, raw_finals, strict=True):
        for key in ("action_mask", "adjacency"):
            np.testing.assert_array_equal(final[key], expected[key], err_msg=key)
    assert max(np.abs(final["context"]).max() for final in finals) > 1.0  # the rest is normalised


def test_vec_monitor_counts_the_same_episodes() -> None:
    plain, env = make(), VecMonitor(make())
    rng = np.random.default_rng(0)
    plain.reset()
    env.reset()
    num_ended = 0
    for _ in range(25):
        actions = random_actions(env, rng)
        _, _, dones, infos = plain.step(actions)
        _, _, _, monitored = env.step(actions)
        for r in np.flatnonzero(dones):
            assert monitored[r]["episode"]["r"] == pytest.approx(infos[r]["episode"]["r"], rel=1e-5)
            assert monitored[r]["episode"]["l"] == infos[r]["episode"]["l"]
            num_ended += 1
    assert num_ended > 5


def test_evaluate_policy_and_eval_callback_accept_it(tmp_path: Path) -> None:
    env = VecMonitor(make())
    model = PPO(
        POLICY, env, n_steps=8, batch_size=16, n_epochs=1, device="cpu", policy_kwargs={"hidden": 8}
    )
    callback = EvalCallback(
        VecMonitor(make(seed=9)),
        n_eval_episodes=6,
        eval_freq=8,
        log_path=str(tmp_path),
        verbose=0,
    )

    model.learn(64, callback=callback)

    assert callback.evaluations_timesteps == [32, 64]
    assert np.isfinite(callback.last_mean_reward)
    mean, spread = evaluate_policy(model, VecMonitor(make(seed=9)), n_eval_episodes=6)
    assert np.isfinite([mean, spread]).all()


ALGORITHMS: list[Any] = [PPO, MaskablePPO]


def learner(algorithm: Any, env: Any, policy: Any, **arguments: Any) -> Any:
    return algorithm(
        policy, env, n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0, **arguments
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learning_and_eval_callback_accept_it_normalised(algorithm: Any) -> None:
    def normalised(seed: int, **arguments: Any) -> Any:
        env = make(seed=seed, observation=None)
        return VecNormalize(VecMonitor(env), norm_obs_keys=NORMALISED, **arguments)

    env, eval_env = normalised(0), normalised(9, training=False, norm_reward=False)
    callback = EvalCallback(eval_env, n_eval_episodes=4, eval_freq=8, verbose=0)
    learner(algorithm, env, "MultiInputPolicy").learn(64, callback=callback)

    assert np.isfinite(callback.last_mean_reward)
    seen = env.obs_rms["context"]  # what it has seen is handed to the other
    assert seen.count > 64
    assert eval_env.obs_rms["context"].mean.tolist() == seen.mean.tolist()


class Recorder(VecEnvWrapper):
    """Notes copies of all observations as they are returned, and of the masks that actions meet."""

    def __init__(self, venv: Any) -> None:
        super().__init__(venv)
        self.observations: list[Any] = []
        self.allowed: list[Any] = []

    def reset(self) -> Any:
        observation = self.venv.reset()
        self.observations.append(copy.deepcopy(observation))
        return observation

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        masks = self.observations[-1]["action_mask"]
        self.allowed.append(masks[np.arange(self.num_envs), actions])
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        returned = self.venv.step_wait()
        self.observations.append(copy.deepcopy(returned[0]))
        return returned


class Rollouts(BaseCallback):
    """Notes copies of what every roll-out holds, before it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Any] = []
        self.masks: list[Any] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.locals["rollout_buffer"]
        for t in range(buffer.buffer_size):
            self.observations.append({key: buffer.observations[key][t].copy() for key in KEYS})
            if hasattr(buffer, "action_masks"):
                self.masks.append(buffer.action_masks[t].reshape(buffer.n_envs, -1).copy())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rollouts_hold_the_observations_that_were_returned(algorithm: Any) -> None:
    """SB3 stores an observation after the next step; it is to be what it was before."""
    env, rollouts = Recorder(make(num_envs=3)), Rollouts()
    model = learner(algorithm, env, POLICY, policy_kwargs={"hidden": 8})
    model.learn(4 * 8 * 3, callback=rollouts)

    assert len(env.observations) == len(rollouts.observations) + 1 == 33
    for t, stored in enumerate(rollouts.observations):
        for key in KEYS:
            expected = env.observations[t][key]
            np.testing.assert_array_equal(stored[key], expected, err_msg=f"{key} of step {t}")
    assert len({stored["context"].tobytes() for stored in rollouts.observations}) > 25
    assert np.all(env.allowed)
    if algorithm is MaskablePPO:
        masks = [observation["action_mask"] for observation in env.observations[:-1]]
        np.testing.assert_array_equal(rollouts.masks, masks)
