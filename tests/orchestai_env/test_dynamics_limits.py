"""What ends or bounds an episode: deadline, budget, missing workers, truncation, masked actions."""

from __future__ import annotations

from typing import Any

import pytest

from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import MaskedActionError
from tests.orchestai_env.play import finish, in_order, play, statuses
from tests.orchestai_env.toy import (
    ONE_SECOND,
    SECONDS,
    Instance,
    chain,
    lose,
    toy_env,
    win,
)


@pytest.mark.parametrize(
    ("deadline_ms", "success", "clock"),
    [(2000.0, True, 2000.0), (2000.001, True, 2000.0), (1999.999, False, 1999.999)],
)
def test_deadline_is_met_at_the_very_instant(
    deadline_ms: float, success: bool, clock: float
) -> None:
    result = finish(toy_env(chain((ONE_SECOND,), (ONE_SECOND,)), deadline_ms=deadline_ms), 0, 0)

    assert result.success is success
    assert result.total_latency_ms == clock


def test_deadline_ends_the_episode_there_and_charges_running_calls() -> None:
    calls = (win(1000, 0.25),), (win(9000, 0.5),)
    env = toy_env(Instance(calls=calls), deadline_ms=4000.0, reward_weights=SECONDS)
    played = play(env, in_order([0, 0]))

    assert played.terminated
    assert statuses(played.result) == ["succeeded", "running"]
    assert played.result.total_cost == 0.75
    assert played.result.total_latency_ms == 4000.0
    assert played.episode_return == pytest.approx(0.5 - 0.75 - 4.0)


def budget_env(budget: float, **rules: Any) -> OrchestAIEnv:
    """Two subtasks side by side; worker 0 costs 0.25 (0.5 at most), worker 1 0.125 (0.25)."""
    call = (win(1000, 0.25), win(1000, 0.125))
    return toy_env(
        Instance(calls=(call, call, call), links=((0, 2), (1, 2))),
        cost_upper=((0.5, 0.25),),
        cost_budget_usd=budget,
        **rules,
    )


@pytest.mark.parametrize(
    ("budget", "mask"), [(0.75, [0, 1]), (0.7501, [0, 1]), (1.0, [1, 1]), (0.9999, [0, 1])]
)
def test_budget_masks_what_spent_reserved_and_upper_estimate_exceed(
    budget: float, mask: list[int]
) -> None:
    env = budget_env(budget)
    env.reset(seed=0)
    *_, info = env.step(0)  # reserves 0.5

    assert info["action_mask"].tolist() == mask


def test_budget_reservation_of_a_waiting_call_counts() -> None:
    call = (win(1000, 0.25),)
    env = toy_env(
        Instance(calls=(call, call, call)),
        concurrency=(1,),
        cost_upper=((0.5,),),
        cost_budget_usd=1.0,
    )
    result = finish(env, 0, 0)  # the second call waits; nothing is left to reserve for a third

    assert statuses(result) == ["running", "running", "failed"]
    assert result.total_cost == 0.25


def test_budget_frees_the_reservation_at_completion() -> None:
    env = budget_env(0.75)
    env.reset(seed=0)
    env.step(0)  # 0.5 reserved
    *_, info = env.step(1)  # both end: 0.375 spent, 0.375 left

    assert env.current_subtask == 2
    assert info["action_mask"].tolist() == [0, 1]


def test_budget_overrun_is_reported() -> None:
    env = toy_env(Instance(calls=((win(1000, 2.0),),)), cost_upper=((0.5,),), cost_budget_usd=1.0)
    result = finish(env, 0)

    assert result.success
    assert result.total_cost == 2.0


def test_no_allowed_worker_fails_the_subtask_without_a_decision() -> None:
    played = play(toy_env(chain((ONE_SECOND,), ((),), (ONE_SECOND,))), in_order([0]))

    assert played.terminated
    assert statuses(played.result) == ["succeeded", "failed", "pending"]
    assert played.result.subtasks[1].worker is None
    assert played.result.subtasks[1].attempts == 0


def test_no_allowed_worker_under_continue_goes_on_with_the_rest() -> None:
    env = toy_env(Instance(calls=(((),), (ONE_SECOND,))), on_failure="continue")
    result = finish(env, 0)

    assert statuses(result) == ["failed", "succeeded"]


@pytest.mark.parametrize("on_masked_action", ["replace", "error"])
@pytest.mark.parametrize("on_failure", ["abort", "continue"])
def test_episode_without_any_decision_ends_at_its_first_step(
    on_failure: str, on_masked_action: str
) -> None:
    env = toy_env(
        chain(((), ()), (ONE_SECOND, ONE_SECOND)),
        on_failure=on_failure,
        on_masked_action=on_masked_action,
    )
    obs, info = env.reset(seed=0)
    assert env.current_subtask is None
    assert info["action_mask"].all()
    assert obs["workers"].max() == 0.0
    played = play(env, in_order([1]))

    assert played.terminated
    assert played.rewards == [0.0]
    assert played.infos[-1]["masked_actions"] == 0
    assert statuses(played.result) == ["failed", "pending"]


def test_truncation_by_max_steps_charges_running_calls() -> None:
    calls = (ONE_SECOND,), (win(4000, 0.5),), (ONE_SECOND,), (ONE_SECOND,)
    env = toy_env(Instance(calls=calls, links=((0, 2),)), max_steps=2, reward_weights=SECONDS)
    played = play(env, in_order([0, 0]))

    # The two decisions are over before subtask 3, which is READY at the start, is asked for.
    assert not played.terminated
    assert statuses(played.result) == ["running", "running", "pending", "ready"]
    assert played.result.total_cost == 0.625
    assert played.result.total_latency_ms == 0.0
    assert played.episode_return == pytest.approx(-0.625)


def test_truncation_does_not_cut_an_episode_that_ends_in_its_last_step() -> None:
    played = play(toy_env(chain((ONE_SECOND,), (ONE_SECOND,)), max_steps=2), in_order([0, 0]))

    assert played.terminated
    assert played.result.success


def test_truncation_default_never_cuts() -> None:
    flaky = (*lose(100, 0.0), *lose(100, 0.0), *win(100, 0.0))
    played = play(toy_env(chain((flaky,), (flaky,), (flaky,))), in_order([0] * 9))

    assert played.terminated
    assert len(played.rewards) == 9


@pytest.mark.parametrize(
    ("action", "called", "replaced"), [(0, 1, 1), (1, 1, 0), (2, 4, 1), (3, 4, 1), (4, 4, 0)]
)
def test_masked_action_is_replaced_by_the_next_allowed_cyclically(
    action: int, called: int, replaced: int
) -> None:
    env = toy_env(Instance(calls=(((), ONE_SECOND, (), (), ONE_SECOND),)))
    played = play(env, in_order([action]))

    assert played.result.subtasks[0].worker == f"worker-{called}"
    assert played.infos[-1]["masked_actions"] == replaced


def test_masked_action_past_the_last_worker_wraps_around() -> None:
    played = play(toy_env(Instance(calls=((ONE_SECOND, (), ()),))), in_order([1]))

    assert played.result.subtasks[0].worker == "worker-0"


def test_masked_actions_are_counted_over_the_episode_and_anew_in_the_next() -> None:
    env = toy_env(chain((ONE_SECOND, ()), (ONE_SECOND, ())))
    for _ in range(2):
        played = play(env, in_order([1, 1]))
        assert [info["masked_actions"] for info in played.infos] == [0, 1, 2]


def test_masked_action_error_names_worker_and_choices_and_steps_nothing() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND, (), ONE_SECOND),)), on_masked_action="error")
    env.reset(seed=0)

    message = (
        r"subtask 0: worker 'worker-1' \(action 1\) is masked; allowed: worker-0, worker-2\. "
        r'Choose by action_mask, or set on_masked_action="replace"'
    )
    with pytest.raises(MaskedActionError, match=message):
        env.step(1)
    assert env.current_subtask == 0
    *_, terminated, _, _ = env.step(2)
    assert terminated
