"""The toy diamond: its proven optimum, exactly, and what each wrong action costs."""

from __future__ import annotations

import itertools

import pytest

from orchestai_env.reward import compute_reward
from tests.orchestai_env.play import in_order, play
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_BEST,
    DIAMOND_RETURN,
    DIAMOND_RULES,
    SECONDS,
    toy_env,
)

SWIFT, FRUGAL = 0, 1


def test_diamond_best_actions_give_the_proven_return() -> None:
    played = play(toy_env(DIAMOND, **DIAMOND_RULES), in_order(DIAMOND_BEST))

    assert played.episode_return == pytest.approx(DIAMOND_RETURN, abs=1e-12)
    assert compute_reward(played.result, SECONDS) == pytest.approx(DIAMOND_RETURN, abs=1e-12)
    assert played.result.success
    assert played.result.total_cost == 2.5
    assert played.result.total_latency_ms == 3500.0


def test_diamond_best_actions_pay_at_the_proven_moments() -> None:
    played = play(toy_env(DIAMOND, **DIAMOND_RULES), in_order(DIAMOND_BEST))

    # The failed call; its retry; nothing while subtask 2 waits for its worker; the two branches;
    # the last subtask.
    assert played.rewards == pytest.approx([-0.375, 0.125, 0.0, -2.75, 9.0], abs=1e-12)


def test_diamond_best_actions_leave_the_proven_schedule() -> None:
    result = play(toy_env(DIAMOND, **DIAMOND_RULES), in_order(DIAMOND_BEST)).result

    times = [(s.start_ms, s.end_ms, s.latency_ms) for s in result.subtasks]
    assert times == [
        (0.0, 500.0, 500.0),
        (500.0, 2500.0, 2000.0),
        (500.0, 2500.0, 2000.0),
        (2500.0, 3500.0, 1000.0),
    ]
    assert [s.attempts for s in result.subtasks] == [2, 1, 1, 1]
    assert [s.worker for s in result.subtasks] == ["worker-1", "worker-0", "worker-1", "worker-1"]


def test_diamond_no_action_sequence_beats_the_proven_return() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    returns: dict[tuple[int, ...], float] = {}
    # At most 4 subtasks x 2 attempts = 8 decisions.
    for actions in itertools.product((SWIFT, FRUGAL), repeat=8):
        played = play(env, in_order(actions))
        returns[tuple(played.actions)] = played.episode_return

    best = max(returns, key=lambda actions: returns[actions])
    assert best == DIAMOND_BEST
    assert returns[best] == pytest.approx(DIAMOND_RETURN, abs=1e-12)
    assert sorted(returns.values())[-2] < DIAMOND_RETURN - 0.5
    assert min(map(len, returns)) == 4
    assert max(map(len, returns)) == 6


@pytest.mark.parametrize(
    ("actions", "loss"),
    [
        ((SWIFT, SWIFT, FRUGAL, FRUGAL), 1.25),  # succeeds at once, dearly
        ((FRUGAL, SWIFT, SWIFT, FRUGAL, FRUGAL), 1.625),  # escalates where a retry is cheaper
        ((FRUGAL, FRUGAL, SWIFT, SWIFT, FRUGAL), 0.75),  # queues on the faster, cheaper worker
        ((FRUGAL, FRUGAL, FRUGAL, SWIFT, FRUGAL), 1.0),  # slow worker on the critical path
        ((FRUGAL, FRUGAL, FRUGAL, FRUGAL, FRUGAL), 3.25),  # both branches queue
        ((FRUGAL, FRUGAL, SWIFT, FRUGAL, SWIFT, FRUGAL), 1.0),  # a call that fails for sure
    ],
)
def test_diamond_wrong_action_costs_exactly(actions: tuple[int, ...], loss: float) -> None:
    played = play(toy_env(DIAMOND, **DIAMOND_RULES), in_order(actions))

    assert played.result.success
    assert played.actions == list(actions)
    assert played.episode_return == pytest.approx(DIAMOND_RETURN - loss, abs=1e-12)


def test_diamond_failure_for_good_forfeits_success() -> None:
    played = play(toy_env(DIAMOND, **DIAMOND_RULES), in_order((1, 1, 0, 1, SWIFT, SWIFT)))

    assert not played.result.success
    assert played.terminated
    # 3 * 0.5 - 0.75 - 3.75 - 2 * (0.5 + 0.5)
    assert played.episode_return == pytest.approx(-5.0, abs=1e-12)


def test_diamond_without_concurrency_limit_changes_the_optimum() -> None:
    unlimited = DIAMOND_RULES | {"concurrency": ()}
    actions = (FRUGAL, FRUGAL, SWIFT, SWIFT, FRUGAL)
    played = play(toy_env(DIAMOND, **unlimited), in_order(actions))

    assert played.episode_return == pytest.approx(DIAMOND_RETURN + 0.25, abs=1e-12)
