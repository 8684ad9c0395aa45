"""The exact optimum: as good as trying everything, and what it says can be played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from orchestai_env.compiled import compiled
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.oracle import HindsightOptimum, hindsight_optimum
from orchestai_env.oracle.bound import reward_bound
from orchestai_env.oracle.limits import Limits, new_limits, write_limits
from orchestai_env.oracle.rows import STEP_OUTPUTS, copy_row
from orchestai_env.reward import RewardWeights
from orchestai_env.state import EpisodeState, Problem, new_state
from tests.orchestai_env.oracle.search import (
    TooLongError,
    best_return,
    recorded_instances,
    rules,
    simulated_datasets,
)
from tests.orchestai_env.toy import (
    DIAMOND,
    DIAMOND_BEST,
    DIAMOND_RETURN,
    DIAMOND_RULES,
    ONE_SECOND,
    SECONDS,
    Instance,
    Trial,
    chain,
    lose,
    toy_dataset,
    toy_env,
    win,
)

LITERAL = RewardWeights()
EVEN = RewardWeights(
    success_weight=0.3, cost_weight=1.0, latency_weight=0.1, latency_unit="s", shaping_weight=0.1
)
"""Weights under which success is worth no more than a few calls, so that failing often pays."""
EVEN_MS = EVEN.model_copy(update={"latency_weight": 0.02, "latency_unit": "ms"})

UNHURRIED = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def assert_optimal(env: OrchestAIEnv) -> None:
    """Checks the search against trying everything, when it is finished and when it is cut."""
    truth = best_return(env, bound_holds_from(env))
    found = hindsight_optimum(env._episodes, 0)
    assert found.is_exact
    assert found.upper_bound == found.episode_return
    assert found.episode_return == pytest.approx(truth, rel=1e-9, abs=1e-9)
    assert play_on(env, found) == found.episode_return
    for max_nodes in (1, 10):
        cut = hindsight_optimum(env._episodes, 0, max_nodes=max_nodes)
        assert cut.episode_return <= truth + 1e-9
        assert cut.upper_bound >= truth - 1e-9
        assert cut.is_exact == (cut.upper_bound == cut.episode_return)
        assert play_on(env, cut) == cut.episode_return


def bound_holds_from(env: OrchestAIEnv) -> Callable[[OrchestAIEnv, float], None]:
    """Returns a check of the bound in any state that can be reached from this one."""
    problem, shape = env._episodes.problem, env._episodes.state.failures.shape
    old, new = (new_limits(shape[1], shape[2], env.rules.max_attempts) for _ in range(2))
    write_one(problem, env._episodes.state, old)

    def check(reached: OrchestAIEnv, best: float) -> None:
        state = reached._episodes.state
        if reached.current_subtask is None:  # it has ended before any decision
            return
        write_one(problem, state, new)
        for limits in (old, new):
            assert bound_one(problem, state, limits) >= best - 1e-9

    return check


@compiled
def write_one(problem: Problem, state: EpisodeState, limits: Limits) -> None:
    write_limits(problem, state, 0, limits)


@compiled
def bound_one(problem: Problem, state: EpisodeState, limits: Limits) -> float:
    return reward_bound(problem, state, 0, limits)


def play_on(env: OrchestAIEnv, found: HindsightOptimum) -> float:
    """Plays the actions in a fork, to the end of the episode, and returns what they earn."""
    twin, total, ended = env.fork(), 0.0, False
    for action in found.actions:
        assert not ended and twin.action_masks()[action]
        _, reward, terminated, truncated, _ = twin.step(action)
        total, ended = total + reward, terminated or truncated
    assert ended
    return total


@UNHURRIED
@given(
    instance=recorded_instances(),
    concurrency=st.lists(st.integers(1, 2), min_size=3, max_size=3),
    weights=st.sampled_from([SECONDS, LITERAL, EVEN_MS]),
    rules=rules(time_unit_ms=1.0),
    seed=st.integers(0, 1000),
    actions=st.lists(st.integers(0, 1), max_size=2),
)
def test_recorded_optimum_equals_trying_everything(
    instance: Instance,
    concurrency: list[int],
    weights: RewardWeights,
    rules: dict[str, Any],
    seed: int,
    actions: list[int],
) -> None:
    limits = concurrency[: len(instance.calls[0])]
    data = toy_dataset([instance], concurrency=limits)
    assert_optimal_after(OrchestAIEnv(data, reward_weights=weights, **rules), seed, actions)


@UNHURRIED
@given(
    data=simulated_datasets(),
    weights=st.sampled_from([SECONDS, LITERAL, EVEN]),
    rules=rules(time_unit_ms=300.0),
    seed=st.integers(0, 1000),
    actions=st.lists(st.integers(0, 1), max_size=2),
)
def test_simulated_optimum_equals_trying_everything(
    data: Dataset,
    weights: RewardWeights,
    rules: dict[str, Any],
    seed: int,
    actions: list[int],
) -> None:
    assert_optimal_after(OrchestAIEnv(data, reward_weights=weights, **rules), seed, actions)


def assert_optimal_after(env: OrchestAIEnv, seed: int, actions: list[int]) -> None:
    env.reset(seed=seed)
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return
    try:
        assert_optimal(env)
    except TooLongError:
        reject()


def test_diamond_optimum_is_the_proven_one() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    env.reset(seed=0)
    found = hindsight_optimum(env._episodes, 0)

    assert found.actions == DIAMOND_BEST
    assert found.episode_return == pytest.approx(DIAMOND_RETURN, abs=1e-12)
    assert found.is_exact
    assert found.num_nodes < 40


def test_search_changes_nothing() -> None:
    env = toy_env(DIAMOND, **DIAMOND_RULES)
    env.reset(seed=0)
    before = [array.copy() for array in env._episodes.state]
    hindsight_optimum(env._episodes, 0)

    for old, new in zip(before, env._episodes.state, strict=True):
        np.testing.assert_array_equal(old, new)


def test_optimum_fails_on_purpose_where_that_pays() -> None:
    # 20 s of success cost 200 and earn 10.2; two failures of half a second cost 10.
    calls = (win(10_000, 0.0), lose(500, 0.0)), (win(10_000, 0.0), win(10_000, 0.0))
    env = toy_env(chain(*calls), max_attempts=2, reward_weights=LITERAL)
    env.reset(seed=0)
    found = hindsight_optimum(env._episodes, 0)

    assert found.actions == (1, 1)
    assert found.episode_return == pytest.approx(-10.0)


def test_optimum_spends_a_failure_to_reach_the_better_trial() -> None:
    # The only success is the second trial.
    calls = ((Trial(0.0, 100, 0.125), Trial(1.0, 100, 0.125)), lose(1000, 0.5))
    env = toy_env(Instance(calls=(calls,)), reward_weights=SECONDS)
    env.reset(seed=0)

    assert hindsight_optimum(env._episodes, 0).actions == (0, 0)


NO_PRIZE = SECONDS.model_copy(update={"success_weight": 0.0})


@pytest.mark.parametrize(
    ("instance", "arguments", "actions", "expected"),
    [
        pytest.param(
            chain((ONE_SECOND,), (ONE_SECOND,)),
            {"deadline_ms": 2000.0},
            (0, 0),
            11.0 - 0.25 - 2.0,
            id="succeeds at the very deadline",
        ),
        pytest.param(
            chain((ONE_SECOND,), (lose(5000, 0.125),)),
            {"cost_budget_usd": 0.2},
            (0,),
            0.5 - 0.125 - 1.0,
            id="the second subtask finds no allowed worker and fails for nothing",
        ),
        pytest.param(
            Instance(calls=((win(4000, 0.25), win(1000, 1.0)),) * 2),
            {"max_steps": 1},
            (0,),
            -0.25,
            id="the only call is cut off when it has begun, for its cost",
        ),
        pytest.param(
            Instance(calls=((win(1000, 0.0), win(1000, 0.0)), (win(9000, 0.0), lose(1000, 0.0)))),
            {"max_attempts": 1, "reward_weights": NO_PRIZE},
            (0, 1),
            0.5 - 1.0,
            id="one fails, at the moment at which the other succeeds",
        ),
    ],
)
def test_optimum_of_episodes_that_end_in_their_own_way(
    instance: Instance, arguments: dict[str, Any], actions: tuple[int, ...], expected: float
) -> None:
    env = toy_env(instance, **({"reward_weights": SECONDS} | arguments))
    env.reset(seed=0)
    found = hindsight_optimum(env._episodes, 0)

    assert_optimal(env)
    assert found.episode_return == pytest.approx(expected)
    assert found.actions == actions


def test_ended_episode_has_nothing_left_to_earn() -> None:
    env = toy_env(Instance(calls=((ONE_SECOND,),)))
    env.reset(seed=0)
    env.step(0)

    assert hindsight_optimum(env._episodes, 0) == HindsightOptimum(
        episode_return=0.0, actions=(), upper_bound=0.0, is_exact=True, num_nodes=0
    )


def test_episode_without_a_decision_ends_at_any_step() -> None:
    env = toy_env(Instance(calls=(((), ()),)))
    env.reset(seed=0)
    assert env.current_subtask is None
    found = hindsight_optimum(env._episodes, 0)

    assert found.episode_return == 0.0
    assert found.actions == (0,)
    assert found.is_exact


def test_cut_search_of_the_built_in_data_brackets_the_optimum() -> None:
    env = OrchestAIEnv(builtin_dataset("validation", num_workflows=40))
    num_cut = 0
    for k in range(40):
        env.reset(seed=k, options={"workflow": k})
        truth = hindsight_optimum(env._episodes, 0)
        cut = hindsight_optimum(env._episodes, 0, max_nodes=50)
        assert truth.is_exact
        assert cut.episode_return <= truth.episode_return + 1e-6
        assert cut.upper_bound >= truth.episode_return - 1e-6
        assert cut.num_nodes <= max(truth.num_nodes, 50 + 6 * 3 * 8)
        assert play_on(env, cut) == cut.episode_return
        num_cut += not cut.is_exact
    assert num_cut > 3


@compiled
def copy_one(source: EpisodeState, target: EpisodeState) -> None:
    copy_row(source, 1, target, 2, 5)


def test_copied_row_takes_along_all_that_a_step_reads() -> None:
    rng = np.random.default_rng(0)
    state = new_state(2, 5, 3)
    for array in state:
        array[...] = rng.integers(1, 100, array.shape)
    target = new_state(4, 5, 3)
    copy_one(state, target)

    for name, source in state._asdict().items():
        copied = getattr(target, name)[2]
        if name in STEP_OUTPUTS:
            assert not copied.any(), name
        else:
            np.testing.assert_array_equal(copied, source[1], err_msg=name)
