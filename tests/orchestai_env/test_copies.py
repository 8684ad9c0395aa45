"""Copies, pickles and forks in the middle of an episode: they go on alike and share nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.vector_env import OrchestAIVectorEnv

RULES: dict[str, dict[str, Any]] = {
    "default": {},
    "varied": {
        "on_failure": "continue",
        "deadline_ms": 60_000,
        "cost_budget_usd": 0.02,
        "price_spread": 2.0,
        "latency_spread": 2.0,
        "preference_spread": 2.0,
        "min_workers": 2,
        "shuffle_workers": True,
    },
}
DUPLICATES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
}
NUM_ENVS = 3


@pytest.fixture(scope="module")
def builtin() -> Dataset:
    return builtin_dataset("validation", num_workflows=40)


def make(kind: Any, dataset: Dataset, rules: str) -> Any:
    if issubclass(kind, OrchestAIEnv):
        return kind(dataset, **RULES[rules])
    return kind(NUM_ENVS, dataset, **RULES[rules])


def to_bytes(value: Any) -> Any:
    """Returns observations, rewards and infos in a form that is equal only bit for bit."""
    if isinstance(value, dict):
        return {key: to_bytes(entry) for key, entry in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return str(value.dtype), value.shape, value.tobytes()
    return value.hex() if isinstance(value, float) else value


def steps(env: Any, seed: int, count: int = 60) -> list[Any]:
    """Takes random steps, over ends of episodes; returns all that comes back."""
    rng = np.random.default_rng(seed)
    taken: list[Any] = []
    for _ in range(count):
        if isinstance(env, OrchestAIEnv):
            step = env.step(int(rng.integers(8)))
            if step[2] or step[3]:
                taken.append(to_bytes(env.reset()[0]))
        else:
            step = env.step(rng.integers(8, size=NUM_ENVS))
            step[4].pop("final_obs", None)  # rows that have not ended mean nothing
            step[4].pop("final_info", None)
        taken.append([to_bytes(part) for part in step])
    return taken


def arrays_of(thing: Any, seen: set[int] | None = None) -> Iterator[np.ndarray]:
    """Yields every array that can be reached from an object."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from arrays_of(value, seen)
    elif isinstance(thing, (list, tuple, set)) or type(thing).__name__ == "deque":
        for value in thing:
            yield from arrays_of(value, seen)
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        yield from arrays_of(vars(thing), seen)


def assert_apart(first: Any, second: Any, *, least: int = 50) -> None:
    """Asserts that none of at least so many arrays of one lies in memory of the other."""
    mine, theirs = list(arrays_of(first)), list(arrays_of(second))
    assert len(mine) >= least
    for a in mine:
        for b in theirs:
            assert not (a.size and b.size and np.shares_memory(a, b)), (a.shape, b.shape)


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(
    "kind", [OrchestAIEnv, OrchestAIMOEnv, OrchestAIVectorEnv, OrchestAIMOVectorEnv]
)
def test_copy_goes_on_alike_and_shares_no_memory(
    builtin: Dataset, kind: Any, rules: str, duplicate: Callable[[Any], Any]
) -> None:
    env = make(kind, builtin, rules)
    env.reset(seed=5)
    steps(env, 0, count=7)
    held = env.step(0 if isinstance(env, OrchestAIEnv) else np.zeros(NUM_ENVS, np.int64))[0]
    before = to_bytes(held)
    if isinstance(env, OrchestAIEnv) and env.current_subtask is None:
        env.reset()
    twin, third = duplicate(env), duplicate(env)

    assert type(twin) is kind
    assert_apart(twin, env)
    ahead = steps(twin, 1)
    assert steps(env, 1) == ahead
    assert steps(third, 1) == ahead
    assert steps(env, 2) != ahead
    assert to_bytes(held) == before


@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOVectorEnv])
def test_copy_of_what_has_not_begun_begins_alike(
    builtin: Dataset, kind: Any, duplicate: Callable[[Any], Any]
) -> None:
    env = make(kind, builtin, "varied")
    twin = duplicate(env)
    assert to_bytes(twin.reset(seed=1)[0]) == to_bytes(env.reset(seed=1)[0])
    assert steps(twin, 3) == steps(env, 3)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_fork_goes_on_alike_and_leaves_the_original_alone(
    builtin: Dataset, kind: Any, rules: str
) -> None:
    env = make(kind, builtin, rules)
    env.reset(seed=5, options={"workflow": 1})
    held = env.step(0)[0]
    before = to_bytes(held)
    untouched = copy.deepcopy(env)
    twin = env.fork()

    assert type(twin) is kind
    assert twin.dataset is env.dataset
    assert_apart(twin._episodes.state, env._episodes.state, least=10)
    ahead = steps(twin, 1)
    assert steps(twin.fork(), 2) == steps(twin, 2)
    assert steps(env, 1) == ahead
    assert steps(untouched, 1) == ahead
    assert to_bytes(held) == before


@pytest.mark.parametrize("kind", [OrchestAIEnv, OrchestAIMOEnv])
def test_fork_with_a_seed_keeps_the_present_and_changes_the_future(
    builtin: Dataset, kind: Any
) -> None:
    futures = set()
    for seed in (None, 0, 1, 2, 2):
        env = make(kind, builtin, "default")
        env.reset(seed=5, options={"workflow": int(builtin.workflows.num_subtasks.argmax())})
        env.step(0)
        twin = env.fork(seed)
        assert twin.current_subtask == env.current_subtask
        assert twin.action_masks().tolist() == env.action_masks().tolist()
        assert to_bytes(twin._observe()) == to_bytes(env._observe())
        futures.add(str(steps(twin, 1)))
        assert steps(env, 1) == steps(env_like(kind, builtin), 1)

    assert len(futures) == 4


def env_like(kind: Any, dataset: Dataset) -> Any:
    """Returns the environment of the test above, that was never forked."""
    env = make(kind, dataset, "default")
    env.reset(seed=5, options={"workflow": int(dataset.workflows.num_subtasks.argmax())})
    env.step(0)
    return env
