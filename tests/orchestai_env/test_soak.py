"""The soak: a short form of it, and that it sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import soak as soak_module
from benchmarks.invariants import Ledger, Limits, ViolationError, check_observation, check_state
from benchmarks.soak import main, soak
from benchmarks.soak_cases import draw_case
from orchestai_env.state import (
    CLOCK,
    CURRENT,
    NUMBER,
    READY,
    REPLACED,
    RUNS,
    STATUS,
    STEPS,
    SUCCESSES,
    EpisodeState,
)
from orchestai_env.vector_env import OrchestAIVectorEnv
from tests.orchestai_env.toy import ONE_SECOND, chain, toy_dataset

RULES: dict[str, Any] = {"max_steps": 5, "max_parallel_tasks": 2, "deadline_ms": 9000.0}
SERVED_ONCE = chain((ONE_SECOND,), (ONE_SECOND,), (ONE_SECOND,))


def a_batch() -> OrchestAIVectorEnv:
    """Returns two rows one step into a chain of three subtasks, for a single worker."""
    env = OrchestAIVectorEnv(2, toy_dataset([SERVED_ONCE], concurrency=[1]), **RULES)
    env.reset(seed=0)
    env.step(np.zeros(2, np.int64))
    return env


def limits_of(env: OrchestAIVectorEnv) -> Limits:
    return Limits.of(env.rules, env.dataset.workflows.max_subtasks, is_covered=True)


@pytest.mark.slow
def test_random_steps_over_random_configurations_violate_nothing() -> None:
    counts = soak(100_000, seed=0).counts

    assert counts["steps"] >= 100_000
    assert min(counts["configurations, single"], counts["configurations, batched"]) >= 3
    assert min(counts["configurations, toy"], counts["configurations, built-in"]) >= 3
    assert min(counts["episodes that succeeded"], counts["episodes truncated"]) >= 100
    assert counts["masked actions replaced"] >= 1000


def test_few_random_steps_violate_nothing() -> None:
    assert soak(500, seed=2).counts["steps"] >= 500


def test_a_configuration_can_be_drawn_again() -> None:
    first, again, other = draw_case(0, 3), draw_case(0, 3), draw_case(0, 4)
    assert str(first) == str(again) != str(other)
    assert (first.num_steps, first.num_envs) == (again.num_steps, again.num_envs)


def test_a_violation_ends_with_the_configuration_and_how_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise ViolationError("violated: nothing at all")

    assert main(["--steps", "1", "--only", "3"]) == 0
    monkeypatch.setattr(soak_module, "check_state", refuse)

    assert main(["--steps", "1", "--only", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ViolationError: violated: nothing at all" in lines
    assert "configuration 3 of seed 0" in lines
    assert lines[-1] == "repeat: python -m benchmarks.soak --seed 0 --only 3"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.spent.__setitem__(1, -1.0), r"what was spent is never negative \(row 1\)"),
        (lambda s: s.spent.__setitem__(1, 9.0), r"subtasks cost what was spent \(row 1\)"),
        (lambda s: s.episode.__setitem__((0, CLOCK), -1), "the clock is never negative"),
        (lambda s: s.episode.__setitem__((0, CLOCK), 10**9), "the clock stops at the deadline"),
        (lambda s: s.episode.__setitem__((0, STEPS), 6), "at most max_steps decisions"),
        (lambda s: s.episode.__setitem__((0, SUCCESSES), 2), "successes are counted"),
        (lambda s: s.episode.__setitem__((0, RUNS), 1), "running calls are counted"),
        (lambda s: s.episode.__setitem__((0, CURRENT), 2), "the current subtask is ready"),
        (lambda s: s.episode.__setitem__((0, CURRENT), -1), "has a current subtask"),
        (lambda s: s.mask.__setitem__(0, 0), "an action is allowed"),
        (lambda s: s.roster.__setitem__(0, -1), "absent workers are masked"),
        (lambda s: s.busy.__setitem__(0, 1), "a worker is busy with its running calls"),
        (
            lambda s: s.subtask.__setitem__((0, 2, STATUS), READY),
            "a subtask is pending until its parents have succeeded",
        ),
    ],
)
def test_a_wrong_state_is_seen(damage: Callable[[EpisodeState], None], message: str) -> None:
    env = a_batch()
    state, problem = env.episodes.state, env.episodes.problem
    check_state(state, problem, limits_of(env))
    damage(state)
    with pytest.raises(ViolationError, match=message):
        check_state(state, problem, limits_of(env))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.reward.__iadd__(1.0), "a reward is the sum of its terms"),
        (lambda s: s.reward.__imul__(np.nan), "a reward is finite"),
        (lambda s: s.episode.__setitem__((0, CLOCK), 0), "the clock never goes back"),
        (lambda s: s.episode.__setitem__((0, STEPS), 1), "decisions are counted"),
        (lambda s: s.episode.__setitem__((0, NUMBER), 1), "an episode stays the same one"),
        (lambda s: s.episode.__setitem__((0, REPLACED), 1), "masked actions are counted"),
        (lambda s: s.weights.__iadd__(1.0), "an episode's weights stay"),
        (lambda s: s.spent.__imul__(0.25), "what was spent never shrinks"),
    ],
)
def test_a_wrong_step_is_seen(damage: Callable[[EpisodeState], None], message: str) -> None:
    env, ended = a_batch(), np.zeros(2, bool)
    state = env.episodes.state
    ledger = Ledger(state, limits_of(env), env.episodes.problem.num_subtasks)
    actions = np.zeros(2, np.int64)
    env.step(actions)
    damage(state)
    with pytest.raises(ViolationError, match=message):
        ledger.step(state, actions, state.reward, ended, ended, restarts=True)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (0, "success is that of all subtasks"),
        (1, "the rewards of an episode sum to what its summary is worth"),
        (2, "the rewards of an episode sum to what its summary is worth"),
        (3, "the decisions of an episode are counted"),
        (4, "the masked actions of an episode are counted"),
    ],
)
def test_a_wrong_summary_is_seen(column: int, message: str) -> None:
    env = a_batch()
    state = env.episodes.state
    env.reset()
    ledger = Ledger(state, limits_of(env), env.episodes.problem.num_subtasks)
    actions = np.zeros(2, np.int64)
    for _ in range(2):
        _, reward, terminated, truncated, _ = env.step(actions)
        ledger.step(state, actions, reward, terminated, truncated, restarts=True)
    _, reward, terminated, truncated, _ = env.step(actions)
    assert terminated.all()
    state.summary[:, column] += 0.25 if column in (1, 2) else -1.0
    with pytest.raises(ViolationError, match=message):
        ledger.step(state, actions, reward, terminated, truncated, restarts=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "context is finite and not below its bound"),
        (-0.5, "context is finite and not below its bound"),
        (np.inf, "context is finite and not above its bound"),
        (1.5, "context is finite and not above its bound"),
    ],
)
def test_a_wrong_observation_is_seen(value: float, message: str) -> None:
    env = a_batch()
    obs, _ = env.reset()
    check_observation(obs, env.single_observation_space, (2,))
    wrong = obs | {"context": obs["context"].copy()}
    wrong["context"][1, 3] = value
    with pytest.raises(ViolationError, match=message):
        check_observation(wrong, env.single_observation_space, (2,))
    with pytest.raises(ViolationError, match="the observation has the keys of its space"):
        check_observation({}, env.single_observation_space, (2,))
