"""Results of episodes: read late, and no different for that."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from tests.orchestai_env.play import play, random_actions
from tests.orchestai_env.toy import DIAMOND, DIAMOND_BEST, DIAMOND_RULES, toy_env

DONE = SubtaskResult(
    name="subtask 0",
    type="type-0",
    status="succeeded",
    worker="worker-0",
    attempts=1,
    success=True,
    cost=0.5,
    latency_ms=1000.0,
    start_ms=0.0,
    end_ms=1000.0,
)
FIELDS: dict[str, Any] = {
    "success": True,
    "outputs": {0: "text"},
    "total_cost": 0.5,
    "total_latency_ms": 1000.0,
}
AT_ONCE = ExecutionResult(subtasks=(DONE,), **FIELDS)
DUPLICATES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda result: pickle.loads(pickle.dumps(result)),
    "replace": dataclasses.replace,
}


def read_done() -> tuple[SubtaskResult, ...]:
    """Not a lambda, so that it can be pickled."""
    return (DONE,)


def late() -> ExecutionResult:
    return ExecutionResult.reading_later(read_done, **FIELDS)


def is_read(result: ExecutionResult) -> bool:
    return "subtasks" in vars(result)


def test_late_result_equals_one_read_at_once() -> None:
    assert late() == AT_ONCE
    assert AT_ONCE == late()
    assert late() == late()
    assert late() != dataclasses.replace(AT_ONCE, total_cost=0.25)
    assert late() != ExecutionResult(subtasks=(DONE, DONE), **FIELDS)
    assert late() != ExecutionResult.reading_later(tuple, **FIELDS)
    assert AT_ONCE != ExecutionResult.reading_later(tuple, **FIELDS)


def test_late_result_looks_like_one_read_at_once() -> None:
    assert repr(late()) == repr(AT_ONCE)
    assert dataclasses.asdict(late()) == dataclasses.asdict(AT_ONCE)
    assert "subtask 0" in repr(late())


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_duplicate_of_a_late_result_equals_it(
    duplicate: Callable[[Any], Any], read_before: bool
) -> None:
    result = late()
    if read_before:
        assert result.subtasks == (DONE,)
    twin = duplicate(result)

    assert type(twin) is ExecutionResult
    assert twin == result == AT_ONCE


def test_replaced_field_of_a_late_result_leaves_the_rest() -> None:
    changed = dataclasses.replace(late(), success=False)
    assert changed == dataclasses.replace(AT_ONCE, success=False)
    assert changed.subtasks == (DONE,)
    assert dataclasses.replace(late(), subtasks=()).subtasks == ()


def test_subtasks_are_read_once_and_only_when_asked_for() -> None:
    calls = []

    def read() -> tuple[SubtaskResult, ...]:
        calls.append(1)
        return (DONE,)

    result = ExecutionResult.reading_later(read, **FIELDS)
    assert (result.success, result.total_cost, result.outputs) == (True, 0.5, {0: "text"})
    assert not calls
    assert result.subtasks is result.subtasks
    assert result == result
    assert len(calls) == 1


@pytest.mark.parametrize("result", [late(), AT_ONCE], ids=["late", "at once"])
def test_unknown_attribute_is_an_attribute_error(result: ExecutionResult) -> None:
    for name in ("subtask", "_read", "__len__"):
        with pytest.raises(AttributeError, match=name):
            getattr(result, name)
    assert result.subtasks == (DONE,)
    assert not hasattr(result, "_read_subtasks")


def test_late_result_cannot_be_written() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        late().subtasks = ()  # type: ignore[misc]  # that is what it refuses
    with pytest.raises(dataclasses.FrozenInstanceError):
        late().success = False  # type: ignore[misc]  # likewise


def test_result_of_an_episode_does_not_see_later_ones() -> None:
    """Results read after all episodes equal those that were read when each ended."""
    rules: dict[str, Any] = {"on_failure": "continue", "deadline_ms": 60_000.0}
    dataset = builtin_dataset("validation", num_workflows=40)
    env, prompt = (OrchestAIEnv(dataset, price_spread=2.0, **rules) for _ in range(2))
    late_results, prompt_results = [], []
    for seed in range(30):
        late_results.append(play_unread(env, seed))
        prompt_results.append(play(prompt, random_actions(8, seed), seed=seed).result)

    assert not any(is_read(result) for result in late_results)
    assert all(is_read(result) for result in prompt_results)
    assert late_results == prompt_results
    assert len({repr(result) for result in late_results}) == 30


def play_unread(env: OrchestAIEnv, seed: int) -> ExecutionResult:
    """Plays an episode as `play` does, but looks into nothing."""
    choose = random_actions(8, seed)
    obs, info = env.reset(seed=seed)
    while "episode_result" not in info:
        obs, *_, info = env.step(choose(obs))
    result = info["episode_result"]
    assert isinstance(result, ExecutionResult)
    return result


def test_result_read_after_the_environment_is_gone_is_that_of_its_episode() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    env.reset(seed=0)
    for action in DIAMOND_BEST:
        *_, info = env.step(action)
    result = pickle.loads(pickle.dumps(info["episode_result"]))
    env.reset()
    del env, info

    assert not is_read(result)
    assert [subtask.worker for subtask in result.subtasks] == [
        "worker-1", "worker-0", "worker-1", "worker-1",
    ]  # fmt: skip
    assert [subtask.attempts for subtask in result.subtasks] == [2, 1, 1, 1]
    assert [subtask.cost for subtask in result.subtasks] == [0.25, 1.0, 0.75, 0.5]
    assert [subtask.start_ms for subtask in result.subtasks] == [0.0, 500.0, 500.0, 2500.0]
    assert [subtask.end_ms for subtask in result.subtasks] == [500.0, 2500.0, 2500.0, 3500.0]
    assert result.total_cost == 2.5
    assert result.total_latency_ms == 3500.0
