"""Simulated outcomes: what the parameters promise, measured over many calls."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from orchestai_env.errors import ConfigError
from orchestai_env.outcomes.draw import Call, draw_outcome, is_available
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.outcomes.tables import OutcomeTables
from orchestai_env.settings import parse_settings
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec

NUM_CALLS = 5000
TYPES = ("easy", "hard")


def skill(success: float, tokens: float = 100.0) -> TaskSkill:
    return TaskSkill(success=success, output_tokens=tokens, source="made up")


POOL = WorkerPool(
    (
        WorkerSpec(
            name="ace",
            input_usd_per_mtok=2.0,
            output_usd_per_mtok=10.0,
            first_token_ms=300.0,
            tokens_per_s=50.0,
            skills={"easy": skill(0.9), "hard": skill(0.6, 400.0)},
        ),
        WorkerSpec(name="bob", skills={"easy": skill(0.6), "hard": skill(0.2)}),
        WorkerSpec(name="twin", first_token_ms=5.0, skills={"hard": skill(0.6)}),
    )
)
ACE, BOB, TWIN = range(3)
EASY, HARD = range(2)


def call(**changes: Any) -> Call:
    base = Call(
        key=99,
        episode=0,
        subtask=0,
        task_type=HARD,
        query=-1,
        worker=ACE,
        attempt=0,
        parent_quality=1.0,
        running=0,
    )
    return base._replace(**changes)


def outcomes(tables: OutcomeTables, **changes: Any) -> np.ndarray:
    """Draws the same call in many episodes: float64 (m, 4) of success, quality, USD, us."""
    return np.array(
        [draw_outcome(tables, call(episode=e, **changes)) for e in range(NUM_CALLS)], np.float64
    )


def bound(probability: float, count: int) -> float:
    """Returns 4.5 standard errors of a share."""
    return 4.5 * math.sqrt(probability * (1 - probability) / count)


TABLES, STATISTICS = simulated_tables(POOL, TYPES)


@pytest.mark.parametrize(
    ("task_type", "worker", "probability"),
    [(EASY, ACE, 0.9), (HARD, ACE, 0.6), (EASY, BOB, 0.6), (HARD, BOB, 0.2), (HARD, TWIN, 0.6)],
)
@pytest.mark.parametrize("spread", [0.0, 0.8, 3.0])
def test_first_call_succeeds_with_the_stated_probability(
    task_type: int, worker: int, probability: float, spread: float
) -> None:
    tables, statistics = simulated_tables(POOL, TYPES, SimulationSettings(difficulty_spread=spread))
    share = outcomes(tables, task_type=task_type, worker=worker)[:, 0].mean()

    assert statistics.success[task_type, worker] == probability
    assert abs(share - probability) < bound(probability, NUM_CALLS)


def test_every_attempt_succeeds_as_often_as_the_first_before_anything_is_known() -> None:
    for attempt in (1, 2):
        share = outcomes(TABLES, attempt=attempt)[:, 0].mean()
        assert abs(share - 0.6) < bound(0.6, NUM_CALLS)


def test_retry_of_the_failed_worker_succeeds_less_often_than_an_equal_fresh_one() -> None:
    failed = outcomes(TABLES)[:, 0] == 0
    again = outcomes(TABLES, attempt=1)[failed, 0].mean()
    fresh = outcomes(TABLES, attempt=1, worker=TWIN)[failed, 0].mean()

    # In truth about 0.22 and 0.45; 0.6 without the shared difficulty.
    assert again < fresh - bound(0.5, int(failed.sum())) * math.sqrt(2)
    assert fresh < 0.6 - bound(0.6, int(failed.sum()))


@pytest.mark.parametrize(
    ("correlation", "again"), [(0.0, 0.6), (1.0, 0.0)], ids=["independent", "decided"]
)
def test_retry_correlation_goes_from_independence_to_certainty(
    correlation: float, again: float
) -> None:
    settings = SimulationSettings(difficulty_spread=0.0, retry_correlation=correlation)
    tables, _ = simulated_tables(POOL, TYPES, settings)
    failed = outcomes(tables)[:, 0] == 0
    share = outcomes(tables, attempt=1)[failed, 0].mean()

    assert abs(share - again) <= bound(again, int(failed.sum()))


def test_quality_coupling_lowers_success_with_the_parents_quality() -> None:
    shares = [outcomes(TABLES, parent_quality=q)[:, 0].mean() for q in (1.0, 0.5, 0.0)]
    assert shares[0] > shares[1] + 0.03 > shares[2] + 0.06

    free, _ = simulated_tables(POOL, TYPES, SimulationSettings(quality_coupling=0.0))
    np.testing.assert_array_equal(outcomes(free, parent_quality=0.0), outcomes(free))


def test_quality_is_at_least_half_exactly_where_the_call_succeeds() -> None:
    drawn = outcomes(TABLES)

    assert ((drawn[:, 1] >= 0) & (drawn[:, 1] <= 1)).all()
    np.testing.assert_array_equal(drawn[:, 0] == 1, drawn[:, 1] > 0.5)
    assert drawn[:, 1].std() > 0.1


@pytest.mark.parametrize(("task_type", "worker"), [(EASY, ACE), (HARD, ACE), (HARD, TWIN)])
def test_mean_cost_and_latency_match_the_statistics(task_type: int, worker: int) -> None:
    _, _, cost, latency_us = outcomes(TABLES, task_type=task_type, worker=worker).T
    error = 4.5 / math.sqrt(NUM_CALLS)

    expected_cost = STATISTICS.cost_usd[task_type, worker]
    expected_ms = STATISTICS.latency_ms[task_type, worker]
    assert abs(cost.mean() - expected_cost) <= error * cost.std() + 1e-15
    assert abs(latency_us.mean() / 1000 - expected_ms) <= error * latency_us.std() / 1000
    upper = STATISTICS.cost_upper_usd[task_type, worker]
    assert abs((cost <= upper).mean() - 0.95) < 0.02 or cost.std() == 0


def test_statistics_follow_from_price_speed_and_tokens() -> None:
    # 200 input tokens; output tokens are lognormal with median 400 and sigma 0.5, so their mean is
    # 400 * exp(0.125). 256 levels miss some of the tail.
    mean_tokens = 400.0 * math.exp(0.125)

    assert STATISTICS.cost_usd[HARD, ACE] == pytest.approx(
        200 * 2e-6 + mean_tokens * 10e-6, rel=0.01
    )
    assert STATISTICS.latency_ms[HARD, ACE] == pytest.approx(300 + mean_tokens * 20, rel=0.01)


def test_incapable_pair_is_unavailable_and_has_no_figures() -> None:
    assert [is_available(TABLES, EASY, -1, w) for w in range(3)] == [True, True, False]
    assert [is_available(TABLES, HARD, -1, w) for w in range(3)] == [True, True, True]
    for figures in (
        STATISTICS.success,
        STATISTICS.cost_usd,
        STATISTICS.latency_ms,
        STATISTICS.cost_upper_usd,
    ):
        assert figures[EASY, TWIN] == 0.0


def test_load_slows_a_call_down_by_its_share_per_running_call() -> None:
    tables, _ = simulated_tables(POOL, TYPES, SimulationSettings(load_slowdown=0.25))
    alone = draw_outcome(tables, call())
    crowded = draw_outcome(tables, call(running=2))

    assert crowded[:3] == alone[:3]
    assert crowded[3] == alone[3] + int(alone[3] * 0.5)


def test_outcome_depends_on_its_call_alone() -> None:
    forward = [draw_outcome(TABLES, call(episode=e, subtask=e % 3)) for e in range(50)]
    backward = [draw_outcome(TABLES, call(episode=e, subtask=e % 3)) for e in reversed(range(50))]

    assert forward == backward[::-1]
    assert len({outcome[1] for outcome in forward}) == 50


@pytest.mark.parametrize("change", [{"key": 100}, {"episode": 1}, {"subtask": 1}, {"attempt": 1}])
def test_outcome_differs_by_seed_episode_subtask_and_attempt(change: dict[str, int]) -> None:
    first = [draw_outcome(TABLES, call(key=k)) for k in (99, 200, 300)]
    other = [draw_outcome(TABLES, call(**({"key": k} | change))) for k in (99, 200, 300)]

    assert first != other


def test_token_spread_of_zero_makes_cost_and_latency_certain() -> None:
    tables, statistics = simulated_tables(POOL, TYPES, SimulationSettings(token_spread=0.0))
    _, _, cost, latency_us = outcomes(tables).T

    assert cost.min() == cost.max() == pytest.approx(200 * 2e-6 + 400 * 10e-6)
    assert set(latency_us) == {300_000 + 400 * 20_000}
    assert statistics.cost_upper_usd[HARD, ACE] == pytest.approx(cost[0])


def tables_of(*workers: WorkerSpec, **settings: float) -> OutcomeTables:
    pool = WorkerPool(workers)
    return simulated_tables(pool, ("hard",), SimulationSettings(**settings))[0]


def of_skill(name: str, **fields: Any) -> WorkerSpec:
    known = skill(0.6, 400.0).model_copy(update={k: v for k, v in fields.items() if k != "kinship"})
    return WorkerSpec(
        name=name,
        output_usd_per_mtok=1e6,
        kinship=fields.get("kinship", 0.0),
        skills={"hard": known},
    )


def test_defaults_of_a_pair_are_those_that_all_share() -> None:
    plain = tables_of(of_skill("ace"))
    stated = tables_of(of_skill("ace", difficulty_spread=0.8, token_spread=0.5, input_tokens=200.0))
    for one, other in zip(plain, stated, strict=True):
        np.testing.assert_array_equal(one, other)


def test_own_difficulty_spread_keeps_success_and_ties_workers_together() -> None:
    def both_fail(spread: float) -> tuple[float, float]:
        workers = [of_skill(name, difficulty_spread=spread) for name in ("ace", "bob")]
        tables = tables_of(*workers)
        won = [outcomes(tables, task_type=0, worker=w)[:, 0] for w in (0, 1)]
        return float(won[0].mean()), float(((1 - won[0]) * (1 - won[1])).mean())

    (narrow, apart), (wide, together) = both_fail(0.2), both_fail(2.5)
    assert abs(narrow - 0.6) < bound(0.6, NUM_CALLS) and abs(wide - 0.6) < bound(0.6, NUM_CALLS)
    assert together > apart + 0.1


def test_kin_fail_together_and_opposites_apart() -> None:
    workers = [of_skill(name, kinship=k) for name, k in (("a", 1.5), ("b", 1.5), ("c", -1.5))]
    tables = tables_of(*workers, difficulty_spread=0.0)
    lost = [1 - outcomes(tables, task_type=0, worker=w)[:, 0] for w in range(3)]

    assert all(abs(one.mean() - 0.4) < bound(0.4, NUM_CALLS) for one in lost)
    assert (lost[0] * lost[1]).mean() > 0.16 + 0.05 > 0.16 - 0.05 > (lost[0] * lost[2]).mean()


def test_no_worker_solves_the_unsolvable_share() -> None:
    workers = [of_skill(name, difficulty_spread=0.0) for name in ("ace", "bob")]
    tables = tables_of(*workers, unsolvable_share=0.3, retry_correlation=0.0)
    won = [outcomes(tables, task_type=0, worker=w, attempt=a)[:, 0] for w in (0, 1) for a in (0, 1)]

    assert all(abs(one.mean() - 0.6) < bound(0.6, NUM_CALLS) for one in won)
    # Of the rest each call fails with probability 1/7, whatever the others do.
    none = np.mean(np.sum(won, axis=0) == 0)
    assert abs(none - (0.3 + 0.7 / 7**4)) < bound(0.3, NUM_CALLS)
    assert (outcomes(tables, task_type=0)[:, 1] <= 1.0).all()


@pytest.mark.parametrize(("by_difficulty", "by_luck"), [(0.4, 0.0), (0.0, -0.4), (0.3, 0.3)])
def test_tokens_that_follow_difficulty_and_luck_keep_their_distribution(
    by_difficulty: float, by_luck: float
) -> None:
    links = {"tokens_by_difficulty": by_difficulty, "tokens_by_luck": by_luck}
    free, tied = (tables_of(of_skill("ace", **some)) for some in ({}, links))
    plain, linked = (outcomes(tables, task_type=0) for tables in (free, tied))

    np.testing.assert_array_equal(plain[:, :2], linked[:, :2])  # success stays what it was
    for level in (0.1, 0.5, 0.9):
        share = (linked[:, 2] <= np.quantile(free.output_tokens[0, 0], level)).mean()
        assert abs(share - level) < bound(level, NUM_CALLS)
    lost = linked[:, 0] == 0
    longer = np.log(linked[lost, 2]).mean() - np.log(linked[~lost, 2]).mean()
    # A failed call is on a harder subtask and has worse luck.
    assert (longer > 0.1) if by_difficulty > by_luck else abs(longer) < 0.6
    if by_luck < 0:
        assert longer > 0.1


def test_more_success_than_is_solvable_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"worker 'ace', task type 'hard': expected a success"):
        tables_of(of_skill("ace"), unsolvable_share=0.4)


def test_tokens_that_depend_on_more_than_they_spread_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"explain more than token_spread \(0.5\)"):
        tables_of(of_skill("ace", tokens_by_difficulty=0.4, tokens_by_luck=0.4))


def test_task_type_without_any_skill_is_named() -> None:
    message = "task type 'audio': no worker of the pool has a skill for it"
    with pytest.raises(ConfigError, match=message):
        simulated_tables(POOL, ("easy", "audio"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("difficulty_spread", -0.1),
        ("retry_correlation", 1.1),
        ("quality_coupling", 11),
        ("load_slowdown", float("nan")),
        ("token_spread", 4),
        ("unsolvable_share", 0.95),
        ("tokenspread", 1),
    ],
)
def test_wrong_simulation_setting_is_named(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^here: {key}: "):
        parse_settings({key: value}, SimulationSettings, where="here")
