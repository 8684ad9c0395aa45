"""OrchestAIVectorEnv: every row is a single environment, bit for bit."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.errors import ConfigError, MaskedActionError
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.play import assert_same_obs
from tests.orchestai_env.strategies import Case, cases, variations
from tests.orchestai_env.toy import ONE_SECOND, Instance, chain, toy_dataset

NUM_WORKERS = 8
"""Of the built-in data."""


@pytest.fixture(scope="module")
def builtin() -> Dataset:
    return builtin_dataset("validation", num_workflows=40)


def row(values: dict[str, Any], r: int) -> Obs:
    return {key: value[r] for key, value in values.items() if not key.startswith("_")}


class Singles:
    """Single environments beside a batched one; each ended one restarts in the same step."""

    def __init__(self, dataset: Dataset, num_envs: int, seed: int, rules: dict[str, Any]) -> None:
        """Makes both and compares their first observations."""
        self.venv = OrchestAIVectorEnv(num_envs, dataset, **rules)
        self.envs = [OrchestAIEnv(dataset, **rules) for _ in range(num_envs)]
        batch, info = self.venv.reset(seed=seed)
        for r, env in enumerate(self.envs):
            obs, one = env.reset(seed=seed + r)
            assert_same_obs(obs, row(batch, r))
            np.testing.assert_array_equal(one["action_mask"], info["action_mask"][r])
        self.num_ended = 0

    def step(self, actions: np.ndarray[Any, Any]) -> None:
        """Steps all and compares everything."""
        batch, rewards, terminated, truncated, info = self.venv.step(actions)
        assert rewards.dtype == np.float64
        assert terminated.dtype == truncated.dtype == np.bool_
        ended = terminated | truncated
        assert ("final_obs" in info) == ("final_info" in info) == bool(ended.any())
        for r, env in enumerate(self.envs):
            obs, reward, *ends, one = env.step(actions[r])
            assert (reward, *ends) == (rewards[r], terminated[r], truncated[r])
            if ended[r]:
                self.compare_final(info, r, obs, one)
                obs, one = env.reset()
                self.num_ended += 1
            assert_same_obs(obs, row(batch, r))
            np.testing.assert_array_equal(env.action_masks(), self.venv.action_masks()[r])
            np.testing.assert_array_equal(one["action_mask"], info["action_mask"][r])
        for mask in ("_final_obs", "_final_info") if ended.any() else ():
            np.testing.assert_array_equal(info[mask], ended)

    def compare_states(self) -> None:
        """Compares the states, bit for bit."""
        batch = self.venv.episodes.state._asdict()
        for r, env in enumerate(self.envs):
            for name, single in env._episodes.state._asdict().items():
                if name != "ended":  # the batched row tells the last step, the single the restart
                    assert single[0].tobytes() == batch[name][r].tobytes(), name

    def compare_final(self, info: dict[str, Any], r: int, obs: Obs, one: dict[str, Any]) -> None:
        """Compares what the batched info says of an ended episode with the single's."""
        result = one["episode_result"]
        assert_same_obs(obs, row(info["final_obs"], r))
        final = row(info["final_info"], r)
        assert final["is_success"].dtype == np.bool_
        assert final == {
            "is_success": one["is_success"],
            "total_cost": result.total_cost,
            "total_latency_ms": result.total_latency_ms,
            "steps": final["steps"],
            "masked_actions": one["masked_actions"],
            "succeeded": sum(subtask.success for subtask in result.subtasks),
        }
        for values in (info["final_obs"], info["final_info"]):
            assert all(values[key][r] for key in values if key.startswith("_"))


LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "max_attempts": st.integers(1, 3),
    "max_parallel_tasks": st.integers(1, 5),
    "on_failure": st.sampled_from(["abort", "continue"]),
    "cost_budget_usd": st.none() | st.floats(0.001, 0.05),
    "deadline_ms": st.none() | st.floats(100.0, 60_000.0),
    "max_steps": st.none() | st.integers(1, 12),
}


def test_rows_equal_single_envs_on_simulated_outcomes(builtin: Dataset) -> None:
    """100 random configurations; the next test has 100 more."""
    num_ended = []

    @settings(max_examples=100)
    @given(
        num_envs=st.integers(1, 6),
        seed=st.integers(0, 2**31),
        limits=st.fixed_dictionaries(LIMITS),
        variation=variations(NUM_WORKERS),
    )
    def check(num_envs: int, seed: int, limits: dict[str, Any], variation: dict[str, Any]) -> None:
        both = Singles(builtin, num_envs, seed, limits | variation)
        rng = np.random.default_rng(seed)
        for _ in range(40):
            both.step(rng.integers(NUM_WORKERS, size=num_envs))
        both.compare_states()
        num_ended.append(both.num_ended)

    check()
    assert sum(num_ended) > 1000


@settings(max_examples=100)
@given(case=cases(), num_envs=st.integers(1, 4), seed=st.integers(0, 2**31), data=st.data())
def test_rows_equal_single_envs_on_recorded_outcomes(
    case: Case, num_envs: int, seed: int, data: st.DataObject
) -> None:
    num_workers = len(case.concurrency)
    rules = case.rules | data.draw(variations(num_workers))
    both = Singles(case.dataset(), num_envs, seed, rules)
    for action in case.actions:
        both.step(np.arange(action, action + num_envs) % num_workers)
    both.compare_states()


def test_rows_equal_single_envs_over_many_steps(builtin: Dataset) -> None:
    both = Singles(builtin, 16, 123, {"max_steps": 7, "deadline_ms": 30_000.0})
    rng = np.random.default_rng(0)
    for _ in range(400):
        both.step(rng.integers(len(builtin.pool), size=16))
    assert both.num_ended > 1000


def test_rows_do_not_depend_on_num_envs(builtin: Dataset) -> None:
    few, many = OrchestAIVectorEnv(3, builtin), OrchestAIVectorEnv(50, builtin)
    few.reset(seed=9)
    many.reset(seed=9)
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = rng.integers(len(builtin.pool), size=50)
        a: Any = few.step(actions[:3])
        b: Any = many.step(actions)
        assert_same_obs(a[0], {key: values[:3] for key, values in b[0].items()})
        for i in (1, 2, 3):
            np.testing.assert_array_equal(a[i], b[i][:3])


def test_make_vec_gives_the_batched_environment() -> None:
    venv = gym.make_vec("OrchestAI-v0", num_envs=4, vectorization_mode="vector_entry_point")
    obs, info = venv.reset(seed=0)
    single = OrchestAIEnv()

    assert isinstance(venv, OrchestAIVectorEnv)
    assert venv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert venv.observation_space.contains(obs)
    assert venv.single_observation_space == single.observation_space
    assert venv.single_action_space == single.action_space
    assert info["action_mask"].shape == (4, 8)
    for _ in range(100):
        obs, *_ = venv.step(venv.action_space.sample())
        assert venv.observation_space.contains(obs)


def test_make_vec_equals_gymnasiums_own_vectorisation(builtin: Dataset) -> None:
    ours = gym.make_vec(
        "OrchestAI-v0", num_envs=3, vectorization_mode="vector_entry_point", dataset=builtin
    )
    theirs = gym.vector.SyncVectorEnv(
        [lambda: OrchestAIEnv(builtin)] * 3, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert_same_obs(ours.reset(seed=4)[0], theirs.reset(seed=4)[0])
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = rng.integers(8, size=3)
        a, b = ours.step(actions), theirs.step(actions)
        assert_same_obs(a[0], b[0])
        for i in (1, 2, 3):
            np.testing.assert_array_equal(a[i], b[i])
        np.testing.assert_array_equal(a[4].get("_final_obs", []), b[4].get("_final_obs", []))
        if "final_obs" in a[4]:
            for r in np.flatnonzero(a[4]["_final_obs"]).tolist():
                assert_same_obs(row(a[4]["final_obs"], r), b[4]["final_obs"][r])


def test_gymnasiums_vector_wrappers_understand_the_infos(builtin: Dataset) -> None:
    venv = DictInfoToList(RecordEpisodeStatistics(OrchestAIVectorEnv(3, builtin)))
    _, infos = venv.reset(seed=0)
    assert [info["action_mask"].shape for info in infos] == [(8,)] * 3
    seen = 0
    for _ in range(40):
        _, _, terminated, _, step_infos = venv.step(np.zeros(3, np.int64))
        for r, info in enumerate(step_infos):
            assert ("final_info" in info) == ("episode" in info) == terminated[r]
            seen += int(terminated[r])
            if terminated[r]:
                assert info["episode"]["l"] == info["final_info"]["steps"]
    assert seen


def test_reset_again_starts_the_next_episodes_and_a_seed_the_first(builtin: Dataset) -> None:
    venv = OrchestAIVectorEnv(4, builtin)
    first = venv.reset(seed=1)[0]
    second = venv.reset()[0]
    assert_same_obs(first, venv.reset(seed=1)[0])
    assert_same_obs(second, venv.reset()[0])
    assert any((first[key] != second[key]).any() for key in first)


def test_reset_takes_one_seed_per_row_and_one_workflow_per_row(builtin: Dataset) -> None:
    venv = OrchestAIVectorEnv(3, builtin)
    obs, _ = venv.reset(seed=[5, None, 9], options={"workflow": np.array([0, 1, 2])})
    for r, seed in ((0, 5), (2, 9)):
        one, _ = OrchestAIEnv(builtin).reset(seed=seed, options={"workflow": r})
        assert_same_obs(one, row(obs, r))
    sizes = builtin.workflows.num_subtasks[:3]
    assert obs["subtasks"][:, :, 0].sum(axis=1).tolist() == sizes.tolist()


def test_returned_arrays_are_not_overwritten(builtin: Dataset) -> None:
    venv = OrchestAIVectorEnv(2, builtin)
    obs, info = venv.reset(seed=0)
    kept = {key: values.copy() for key, values in obs.items()}
    mask = info["action_mask"].copy()
    _, reward, *_ = venv.step(np.zeros(2, np.int64))
    kept_reward = reward.copy()
    for _ in range(5):
        venv.step(np.ones(2, np.int64))

    assert_same_obs(obs, kept)
    np.testing.assert_array_equal(info["action_mask"], mask)
    np.testing.assert_array_equal(reward, kept_reward)


TOY = toy_dataset([chain((ONE_SECOND, ()), (ONE_SECOND, ()))])


def test_step_before_reset_asks_for_one() -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        OrchestAIVectorEnv(2, TOY).step(np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0], r"actions: expected 2 integers, got int64 \(1,\)"),
        (0, r"actions: expected 2 integers, got int64 \(\)"),
        ([[0, 0]], r"actions: expected 2 integers, got int64 \(1, 2\)"),
        ([0.0, 1.0], r"actions: expected 2 integers, got float64 \(2,\)"),
        ([0, 2], r"actions: expected worker indexes 0\.\.1, got 0\.\.2"),
        ([-1, 0], r"actions: expected worker indexes 0\.\.1, got -1\.\.0"),
        (["0", "1"], r"actions: expected 2 integers"),
    ],
)
def test_wrong_actions_raise_and_step_nothing(actions: Any, message: str) -> None:
    venv = OrchestAIVectorEnv(2, TOY)
    before, _ = venv.reset(seed=0)
    with pytest.raises(ConfigError, match=message):
        venv.step(actions)
    assert_same_obs(before, venv._observe())


@pytest.mark.parametrize(
    ("seed", "message"),
    [([1], "seed: expected 2 seeds, got 1"), ([1, 2, 3], "seed: expected 2 seeds, got 3")],
)
def test_wrong_number_of_seeds_raises(seed: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OrchestAIVectorEnv(2, TOY).reset(seed=seed)


@pytest.mark.parametrize("seed", [-5, 0.5, "12", [0.5, 1], np.array([1, 2, 3])])
def test_wrong_seed_raises(seed: Any) -> None:
    with pytest.raises((gym.error.Error, ConfigError)):
        OrchestAIVectorEnv(2, TOY).reset(seed=seed)


def test_masked_action_error_names_the_row_and_steps_none() -> None:
    venv = OrchestAIVectorEnv(3, TOY, on_masked_action="error")
    before, _ = venv.reset(seed=0)
    with pytest.raises(MaskedActionError, match=r"episode row 2, subtask 0: worker 'worker-1'"):
        venv.step(np.array([0, 0, 1]))
    assert_same_obs(before, venv._observe())


def test_row_without_any_decision_ends_at_its_next_step() -> None:
    dataset = toy_dataset([Instance(calls=(((),),)), Instance(calls=((ONE_SECOND,),))])
    both = Singles(dataset, 6, 0, {})
    for _ in range(10):
        both.step(np.zeros(6, np.int64))
    assert both.num_ended == 60
