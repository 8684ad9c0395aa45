"""Round robin and the critical path, on instances whose right picks are known."""

from __future__ import annotations

import pytest

from agents.baselines.heuristics import CriticalPathAgent
from agents.baselines.simple import RoundRobinAgent
from tests.agents.problems import calls_of, toy_setting
from tests.orchestai_env.toy import ONE_SECOND, Instance, chain, lose, win


def test_round_robin_gives_the_calls_in_turn() -> None:
    setting = toy_setting([chain(*[(ONE_SECOND,) * 3] * 5)])

    assert calls_of(RoundRobinAgent(setting), setting) == [[0, 1, 2, 0, 1]]


def test_round_robin_counts_failed_and_running_calls() -> None:
    first = (lose(1, 0.1), lose(1, 0.1), win(1, 0.1))
    side_by_side = Instance(calls=((ONE_SECOND,) * 3,) * 4)
    setting = toy_setting([chain(first, (ONE_SECOND,) * 3), side_by_side], max_attempts=3)

    assert calls_of(RoundRobinAgent(setting), setting) == [[0, 1, 2, 0], [0, 1, 2, 0]]


def test_round_robin_passes_masked_workers_over() -> None:
    setting = toy_setting([chain(((), ONE_SECOND, ONE_SECOND), *[(ONE_SECOND,) * 3] * 2)])

    assert calls_of(RoundRobinAgent(setting), setting) == [[1, 1, 2]]


def test_critical_path_hurries_on_the_path_and_saves_off_it() -> None:
    """Subtasks 0 (short) and 1 (long) both lead to 2.

    Each may be called by a fast, dear worker or a slow, cheap one; a dollar and a second cost 1
    each. On the long branch fast is better by a second; on the short one, which has 6 s of slack,
    time costs nothing and slow is better by 0.9.
    """
    fast_short, slow_short = win(500, 1.0), win(1500, 0.1)
    fast_long, slow_long = win(6000, 1.0), win(8000, 0.1)
    instance = Instance(
        calls=(
            (fast_short, slow_short),
            (fast_long, slow_long),
            (fast_short, slow_short),
        ),
        links=((0, 2), (1, 2)),
        types=(0, 1, 0),
    )
    setting = toy_setting([instance])

    assert calls_of(CriticalPathAgent(setting), setting) == [[1, 0, 0]]


def test_critical_path_leaves_failed_workers_and_returns_to_them_last() -> None:
    setting = toy_setting([chain((lose(100, 0.1), lose(100, 0.2)))], max_attempts=3)

    assert calls_of(CriticalPathAgent(setting), setting) == [[0, 1, 0]]


@pytest.mark.parametrize(("slots", "calls"), [(2, [0, 0]), (1, [0, 1])])
def test_critical_path_avoids_workers_without_a_free_slot(slots: int, calls: list[int]) -> None:
    """Two subtasks side by side; waiting for worker 0 takes a second more than worker 1 does."""
    instance = Instance(calls=((win(2000, 0.1), win(3000, 0.1)),) * 2)
    setting = toy_setting([instance], concurrency=(slots, 2))

    assert calls_of(CriticalPathAgent(setting), setting) == [calls]
