"""`gym.make("OrchestAI-v0", outcomes="live")`: real calls under the rules of the environment."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError
from orchestai_env.execution.calls.budget import BudgetError
from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage
from orchestai_env.execution.workers.worker_settings import LivePool
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.workflow import Subtask, Workflow

WORKFLOWS = (
    Workflow(
        id="diamond",
        instruction="do it all",
        subtasks=tuple(Subtask(name=f"step {i}", type="sums") for i in range(4)),
        links=((0, 1), (0, 2), (1, 3), (2, 3)),
    ),
    Workflow(id="one", instruction="one", subtasks=(Subtask(name="only", type="text"),), links=()),
)
WEIGHTS = RewardWeights(success_weight=7.0, cost_weight=150.0, latency_weight=2.0e-4)
PAUSE_S = 0.02


def answers(request: CallRequest) -> Answer:
    """Answers after a while."""
    time.sleep(PAUSE_S)
    return Answer(text=f"did {request.subtask}", usage=Usage(input_tokens=1000, output_tokens=10))


def refuses(request: CallRequest) -> Answer:
    """Never answers."""
    raise RuntimeError("out of order")


def pool() -> LivePool:
    """Returns a worker that answers and one that does not."""
    common = {"backend": "function", "input_usd_per_mtok": 10.0, "max_tries": 1}
    return LivePool.model_validate(
        {
            "specs": (
                {"name": "good", "function": f"{__name__}:answers", **common},
                {"name": "bad", "function": f"{__name__}:refuses", **common},
            )
        }
    )


@pytest.fixture
def env() -> Iterator[gym.Env[Any, Any]]:
    """Yields a live environment, closed in the end."""
    env = gym.make(
        "OrchestAI-v0",
        outcomes="live",
        workers=pool(),
        workflows=WORKFLOWS,
        reward_weights=WEIGHTS,
        disable_env_checker=True,
    )
    yield env
    env.close()


def play(env: gym.Env[Any, Any], actions: list[int], workflow: int) -> tuple[float, dict[str, Any]]:
    """Plays an episode; returns its return and its last info."""
    env.reset(seed=0, options={"workflow": workflow})
    total, ended = 0.0, False
    for action in actions:
        assert not ended
        obs, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(obs)
        total += float(reward)
        ended = terminated or truncated
    assert ended
    return total, info


def test_episode_is_played_with_real_calls(env: gym.Env[Any, Any]) -> None:
    total, info = play(env, [0, 0, 0, 0], 0)
    result = info["episode_result"]

    assert result.success
    assert result.total_cost == pytest.approx(4 * 0.01)
    assert result.total_latency_ms >= 3 * 1000 * PAUSE_S
    assert total == pytest.approx(compute_reward(result, WEIGHTS), rel=1e-6)


def test_branches_run_side_by_side(env: gym.Env[Any, Any]) -> None:
    _, info = play(env, [0, 0, 0, 0], 0)
    first, second = info["episode_result"].subtasks[1:3]

    assert first.start_ms < second.end_ms
    assert second.start_ms < first.end_ms


def test_failed_call_is_seen_and_another_worker_may_take_over(env: gym.Env[Any, Any]) -> None:
    env.reset(seed=0, options={"workflow": 1})
    obs, _, terminated, _, _ = env.step(1)

    assert not terminated
    assert obs["workers"][1, 5] > 0
    *_, terminated, _, info = env.step(0)
    assert terminated
    assert info["is_success"]


def test_next_episode_begins_while_calls_of_the_last_one_run(env: gym.Env[Any, Any]) -> None:
    env.reset(seed=0, options={"workflow": 0})
    env.step(0)
    env.step(0)  # its call runs on
    total, info = play(env, [0], 1)

    assert info["episode_result"].success
    assert total > 0


def test_spaces_are_those_of_the_environment(env: gym.Env[Any, Any]) -> None:
    plain = env.unwrapped
    assert isinstance(plain, OrchestAIEnv)
    assert env.action_space == gym.spaces.Discrete(2)
    assert isinstance(env.observation_space, gym.spaces.Dict)
    assert "instruction" not in env.observation_space.spaces


def test_budget_of_all_episodes_holds(env: gym.Env[Any, Any]) -> None:
    tight = gym.make(
        "OrchestAI-v0",
        outcomes="live",
        workers=pool(),
        workflows=WORKFLOWS,
        budget_usd=0.001,
        disable_env_checker=True,
    )
    live: Any = tight.unwrapped
    tight.reset(seed=0, options={"workflow": 1})
    with pytest.raises(BudgetError, match="budget of all executions is spent: good: the budget"):
        tight.step(0)

    assert live.means.ledger.spent_usd == 0.0
    tight.reset(seed=0, options={"workflow": 0})
    tight.close()


@pytest.mark.parametrize("copying", [copy.deepcopy, copy.copy])
def test_copies_are_refused(env: gym.Env[Any, Any], copying: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be copied"):
        copying(env.unwrapped)
    with pytest.raises(ConfigError, match="fork"):
        env.unwrapped.fork()  # type: ignore[attr-defined]


def test_closing_twice_does_no_harm(env: gym.Env[Any, Any]) -> None:
    play(env, [0], 1)
    env.close()
    env.close()


def test_unknown_kind_of_outcomes_is_refused() -> None:
    with pytest.raises(ConfigError, match='expected "dataset" or "live", got \'real\''):
        gym.make("OrchestAI-v0", outcomes="real")


def test_task_type_without_a_worker_is_refused() -> None:
    spec = {"name": "w", "backend": "function", "function": f"{__name__}:answers"}
    only_text = LivePool.model_validate({"specs": ({**spec, "capabilities": ["text"]},)})
    with pytest.raises(ConfigError, match="task type 'sums': no worker serves it"):
        gym.make("OrchestAI-v0", outcomes="live", workers=only_text, workflows=WORKFLOWS)


def test_statistics_let_assume_what_prices_say(env: gym.Env[Any, Any]) -> None:
    plain = env.unwrapped
    assert isinstance(plain, OrchestAIEnv)
    known = plain.dataset.statistics
    np.testing.assert_allclose(known.cost_usd, 10.0 * 200 / 1e6)
    np.testing.assert_allclose(known.success, 0.5)
