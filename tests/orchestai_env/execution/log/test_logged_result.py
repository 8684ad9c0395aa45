"""ExecutionResult -> LoggedResult -> ExecutionResult is the same result."""

from __future__ import annotations

import gymnasium as gym
from hypothesis import given

from orchestai_env.execution.log.logged_result import execution_result, logged_result
from orchestai_env.execution.log.record import ExecutionRecord, LoggedResult, LoggedSubtask
from orchestai_env.execution_result import SubtaskResult
from tests.orchestai_env.execution.log_records import records


@given(records())
def test_a_logged_result_comes_back(one: ExecutionRecord) -> None:
    result = execution_result(one.execution_result)
    assert logged_result(result) == one.execution_result
    assert execution_result(logged_result(result)) == result


def test_subtasks_have_the_same_fields() -> None:
    assert tuple(LoggedSubtask.model_fields) == SubtaskResult._fields


def test_the_result_of_an_episode_comes_back_through_a_line() -> None:
    env = gym.make("orchestai_env:OrchestAI-v0")
    _, info = env.reset(seed=0)
    has_ended = False
    while not has_ended:
        action = int(info["action_mask"].argmax())
        _, _, terminated, truncated, info = env.step(action)
        has_ended = terminated or truncated
    result = info["episode_result"]
    line = logged_result(result).model_dump_json()
    assert execution_result(LoggedResult.model_validate_json(line)) == result
