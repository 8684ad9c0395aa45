"""Buffers of observations: reused as soon as nobody holds them, and never before."""

from __future__ import annotations

import copy
import functools
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from orchestai_env.buffers import Buffer, BufferPool, batch_buffer, single_buffer
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.mo_env import OrchestAIMOVectorEnv
from orchestai_env.observation import ObservationLayout
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.play import assert_same_obs
from tests.orchestai_env.toy import DIAMOND, toy_dataset

LAYOUT = ObservationLayout.of(toy_dataset([DIAMOND]), None)
ALLOCATE: dict[str, Callable[[], Buffer]] = {
    "single": functools.partial(single_buffer, LAYOUT),
    "batch": functools.partial(batch_buffer, LAYOUT, 3),
}
HOLD: dict[str, Callable[[Obs], Any]] = {
    "dict": lambda obs: obs,
    "array": lambda obs: obs["context"],
    "view": lambda obs: obs["action_mask"][:1],
    "view of a view": lambda obs: obs["subtasks"][..., 1:].T[::2],
    "iterator": lambda obs: obs["workers"].flat,
    "memoryview": lambda obs: obs["context"].data,
    "array of a memoryview": lambda obs: np.frombuffer(obs["adjacency"], np.float32),
    "tensor": lambda obs: torch.from_numpy(obs["workers"]),
    "view of a tensor of a view": lambda obs: torch.from_numpy(obs["subtasks"][0])[0],
}
RULES: dict[str, Any] = {
    "price_spread": 2.0,
    "latency_spread": 2.0,
    "preference_spread": 2.0,
    "min_workers": 2,
}
NUM_ENVS = 4


@pytest.fixture(params=ALLOCATE.values(), ids=list(ALLOCATE))
def pool(request: pytest.FixtureRequest) -> BufferPool[Buffer]:
    return BufferPool(request.param)


@pytest.fixture(scope="module")
def builtin() -> Dataset:
    return builtin_dataset("validation", num_workflows=40)


@pytest.mark.parametrize("hold", HOLD.values(), ids=HOLD)
def test_pool_reuses_a_buffer_as_soon_as_nobody_holds_it_and_not_before(
    pool: BufferPool[Buffer], hold: Callable[[Obs], Any]
) -> None:
    first = pool.take()
    held = hold(first.by_key.copy())  # what an environment returns
    others = [pool.take() for _ in range(5)]

    assert all(other is not first for other in others)
    del held
    assert pool.take() is first


def test_pool_reuses_what_was_held_twice_when_both_let_go(pool: BufferPool[Buffer]) -> None:
    first = pool.take()
    array, row = first.by_key["context"], first.by_key["context"][:1]
    del array
    assert pool.take() is not first
    del row
    assert pool.take() is first


def test_pool_gives_buffers_that_share_no_memory(pool: BufferPool[Buffer]) -> None:
    held = [pool.take().by_key.copy() for _ in range(6)]
    arrays = [array for obs in held for array in obs.values()]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:i])


def test_pool_keeps_three_buffers_and_lets_older_ones_go(pool: BufferPool[Buffer]) -> None:
    buffers = [pool.take()]
    held = [buffers[0].by_key.copy()]
    for _ in range(7):
        buffers.append(pool.take())
        held.append(buffers[-1].by_key.copy())
    alive = [weakref.ref(obs["context"]) for obs in held]
    assert list(map(id, pool._buffers)) == list(map(id, buffers[-3:]))
    del buffers
    held.clear()

    assert [array() is not None for array in alive] == [False] * 5 + [True] * 3
    assert pool.take() is pool._buffers[0]


def test_pool_needs_three_buffers_for_one_who_keeps_the_last_two() -> None:
    made = []

    def allocate() -> Buffer:
        made.append(1)
        return single_buffer(LAYOUT)

    pool = BufferPool(allocate)
    before = obs = None
    for _ in range(20):
        before, obs = obs, pool.take().by_key.copy()

    assert before is not None
    assert len(made) == 3


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda pool: pickle.loads(pickle.dumps(pool))],
    ids=["deepcopy", "pickle"],
)
def test_pool_copies_without_its_buffers(
    pool: BufferPool[Buffer], duplicate: Callable[[Any], Any]
) -> None:
    buffer = pool.take()
    twin = duplicate(pool)
    other = twin.take()

    assert type(twin) is BufferPool
    assert pool.take() is buffer
    assert other is not buffer
    assert list(other.by_key) == list(buffer.by_key)
    for key, array in other.by_key.items():
        assert (array.shape, array.dtype) == (buffer.by_key[key].shape, buffer.by_key[key].dtype)
        assert not np.shares_memory(array, buffer.by_key[key])


def test_buffer_of_one_row_gives_the_memory_that_compiled_code_writes() -> None:
    buffer = single_buffer(LAYOUT)
    for key, array in buffer.by_key.items():
        rows = getattr(buffer.record, key)
        assert rows.shape == (1, *array.shape)
        rows[...] = 1
        assert array.all()


def make(kind: Any, dataset: Dataset, **rules: Any) -> Any:
    is_single = issubclass(kind, OrchestAIEnv)
    return kind(dataset, **rules) if is_single else kind(NUM_ENVS, dataset, **rules)


def returned(env: Any, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Returns all dicts of arrays that some steps return, as they are."""
    collected = []
    for _ in range(count):
        if isinstance(env, OrchestAIEnv):
            obs, _, terminated, truncated, info = env.step(int(rng.integers(8)))
            collected += [obs, {"mask": info["action_mask"]}]
            if terminated or truncated:
                obs, info = env.reset()
                collected += [obs, {"mask": info["action_mask"]}]
        else:
            obs, reward, terminated, truncated, info = env.step(rng.integers(8, size=NUM_ENVS))
            said = {"reward": reward, "terminated": terminated, "truncated": truncated}
            collected += [obs, said, {"mask": info["action_mask"]}]
            collected += [info[key] for key in ("final_obs", "final_info") if key in info]
    return collected


@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIVectorEnv, OrchestAIMOVectorEnv])
def test_collected_observations_stay_as_they_were_returned(builtin: Dataset, kind: Any) -> None:
    env, rng = make(kind, builtin, **RULES), np.random.default_rng(0)
    kept: list[dict[str, Any]] = [env.reset(seed=1)[0]]
    copies = copy.deepcopy(kept)
    for _ in range(60):
        new = returned(env, rng, 1)
        kept += new
        copies += copy.deepcopy(new)

    assert len(kept) > 130
    if kind is not OrchestAIEnv:
        assert sum("_context" in values for values in kept) > 10
    for values, expected in zip(kept, copies, strict=True):
        assert_same_obs(values, expected)


@pytest.mark.parametrize("key", ["obs", "final_obs"])
def test_one_kept_row_stays_as_it_was(builtin: Dataset, key: str) -> None:
    venv, rng = OrchestAIVectorEnv(NUM_ENVS, builtin), np.random.default_rng(0)
    venv.reset(seed=1)
    kept, copies = [], []
    for _ in range(60):
        obs, *_, info = venv.step(rng.integers(8, size=NUM_ENVS))
        for r in range(NUM_ENVS) if key == "obs" else np.flatnonzero(info.get("_final_obs", [])):
            row = (obs if key == "obs" else info["final_obs"])["subtasks"][r]
            kept.append(row)
            copies.append(row.copy())
        del obs, info

    assert len(kept) > 20
    np.testing.assert_array_equal(kept, copies)


@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIVectorEnv])
def test_environment_needs_three_buffers_at_most_for_a_loop_of_training(
    builtin: Dataset, kind: Any
) -> None:
    env, rng = make(kind, builtin), np.random.default_rng(0)
    is_single = kind is OrchestAIEnv
    obs, _ = env.reset(seed=0)
    places = set()
    for _ in range(60):
        actions = rng.integers(8, size=None if is_single else NUM_ENVS)
        next_obs, _, terminated, truncated, _ = env.step(actions)
        places |= {obs["subtasks"].ctypes.data, next_obs["subtasks"].ctypes.data}
        if is_single and (terminated or truncated):
            next_obs, _ = env.reset()
        obs = next_obs

    assert 2 <= len(places) <= 3


@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("rules", [{}, RULES], ids=["default", "varied"])
def test_what_a_caller_writes_into_an_observation_changes_no_later_one(
    builtin: Dataset, rules: dict[str, Any], keep: bool
) -> None:
    env, clean = OrchestAIEnv(builtin, **rules), OrchestAIEnv(builtin, **rules)
    obs, info = env.reset(seed=3)
    expected, _ = clean.reset(seed=3)
    rng, kept = np.random.default_rng(0), []
    for _ in range(60):
        assert_same_obs(obs, expected)
        np.testing.assert_array_equal(env.action_masks(), clean.action_masks())
        for array in (*obs.values(), info["action_mask"]):
            array[...] = 77
        if keep:
            kept.append(obs)
        action = int(rng.integers(8))
        obs, reward, *ends, info = env.step(action)
        expected, expected_reward, *expected_ends, _ = clean.step(action)
        assert (reward, ends) == (expected_reward, expected_ends)
        if any(ends):
            obs, info = env.reset()
            expected, _ = clean.reset()
    assert all((array == 77).all() for obs in kept for array in obs.values())
