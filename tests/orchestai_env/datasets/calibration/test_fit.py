"""fit_pool: the parameters of a known simulator come back; poor logs end in finite answers."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.calibration_coverage import PAIR_FIELDS, coverage
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration import success_fit
from orchestai_env.datasets.calibration.fit import MIN_CALLS, FittedPool, fit_pool
from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.datasets.calibration.speed_fit import fit_speed
from orchestai_env.errors import DataError, MissingPackageError
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.outcomes.simulated import SimulationSettings
from tests.orchestai_env.datasets.calibration.conftest import (
    TRUTH,
    truth_records,
    with_decisions,
)
from tests.orchestai_env.datasets.calibration.played_log import played_records

Records = list[ExecutionRecord]
DEFAULTS = SimulationSettings()


def test_fit_finds_a_known_simulator(log: LogTable) -> None:
    fitted = fit_pool(log)
    for name, estimate in fitted.shared.items():
        truth = getattr(TRUTH.simulation, name)
        width = estimate.high - estimate.low
        assert estimate.low - width < truth < estimate.high + width, name
        assert estimate.note == ""
    for worker in TRUTH.workers.workers:
        found = fitted.pool.workers.workers[fitted.pool.workers.index(worker.name)]
        assert found.first_token_ms == pytest.approx(worker.first_token_ms, abs=0.01)
        assert found.tokens_per_s == pytest.approx(worker.tokens_per_s, rel=1e-5)
        assert found.input_usd_per_mtok == pytest.approx(worker.input_usd_per_mtok, rel=1e-4)
        assert found.output_usd_per_mtok == pytest.approx(worker.output_usd_per_mtok, rel=1e-4)
        assert found.concurrency == worker.concurrency
        for kind, skill in worker.skills.items():
            assert found.skills[kind].success == pytest.approx(skill.success, abs=0.12)
            assert found.skills[kind].output_tokens == pytest.approx(skill.output_tokens, rel=0.15)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """benchmarks/calibration_coverage.py has 100 replicates; here 6, pooled over parameters."""
    found = coverage(range(6), 80)
    held = np.mean(found["success of a pair"])
    assert 0.85 <= held <= 1.0
    for name in PAIR_FIELDS:
        assert np.mean(found[f"{name} of a pair"]) >= 0.8, name
    assert np.mean(found["first_token_ms"] + found["token_ms"]) >= 0.85
    shared = [one for name in SimulationSettings.model_fields for one in found.get(name, [])]
    assert np.mean(shared) >= 0.8


def test_prices_are_told_apart_though_long_prompts_have_long_answers(log: LogTable) -> None:
    calls, rng = log.calls, np.random.default_rng(0)
    sent = np.round(100.0 + calls.output_tokens * rng.uniform(1.0, 2.0, len(calls)))
    cost = 1e-6 * sent + 4e-6 * calls.output_tokens
    priced = dataclasses.replace(calls, input_tokens=sent, cost_usd=cost)
    for worker in fit_pool(dataclasses.replace(log, calls=priced)).pool.workers.workers:
        assert worker.input_usd_per_mtok == pytest.approx(1.0, rel=1e-4)
        assert worker.output_usd_per_mtok == pytest.approx(4.0, rel=1e-4)


def test_another_round_changes_nothing(log: LogTable, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [pair.success.value for pair in fit_pool(log).pairs]
    monkeypatch.setattr(success_fit, "_ROUNDS", 4)
    more = [pair.success.value for pair in fit_pool(log).pairs]
    np.testing.assert_allclose(more, few, atol=1e-3)


def test_missing_scipy_is_named_with_what_installs_it(
    log: LogTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingPackageError, match=r"pip install .*orchestai-env\[data\]"):
        fit_pool(log)


def test_calls_that_were_cut_off_count_as_long_ones() -> None:
    """Aborts cut long calls; without their lower bounds the tokens would come out too low."""
    log = log_table(truth_records(1500, seed=5, max_attempts=1))
    assert log.num_open > 100
    gone = np.zeros(0)
    nothing = dataclasses.replace(
        log.open_calls,
        execution=gone.astype(int),
        subtask=gone.astype(int),
        worker=gone.astype(int),
        running=gone,
        elapsed_ms=gone,
    )
    truth = {worker.name: worker.skills for worker in TRUTH.workers.workers}

    def bias(table: LogTable) -> float:
        ratios = [
            pair.output_tokens.value / truth[pair.worker][pair.task_type].output_tokens
            for pair in fit_pool(table).pairs
        ]
        return float(np.log(ratios).mean())

    assert abs(bias(log)) < 0.01
    assert bias(dataclasses.replace(log, open_calls=nothing)) < bias(log)


def test_too_few_calls_are_refused() -> None:
    records = truth_records(3)
    with pytest.raises(DataError, match=f"at least {MIN_CALLS} calls that ended to fit to, got"):
        fit_pool(log_table(records))


def test_log_without_calls_is_refused(records: Records) -> None:
    empty = with_decisions(records[:4], lambda _, call: None)
    with pytest.raises(DataError, match="got 4 executions and 0 calls without an end"):
        log_table(empty)


@pytest.mark.parametrize("outcome", [True, False])
def test_worker_that_always_or_never_succeeds_gets_a_finite_skill(
    records: Records, outcome: bool
) -> None:
    changed = with_decisions(
        records[:200], lambda _, call: {"success": outcome} if call.called == "good" else {}
    )
    fitted = fit_pool(log_table(changed))
    for pair in fitted.pairs:
        assert 0.0 < pair.success.low < pair.success.value < pair.success.high < 1.0
        if pair.worker == "good":
            assert (pair.success.value > 0.93) if outcome else (pair.success.value < 0.07)


def test_pair_with_few_calls_rests_on_its_worker_and_type(records: Records) -> None:
    types = [record.planner_outputs.task_types for record in records]
    seen = 0

    def drop(_: int, call: Any) -> dict[str, Any] | None:
        nonlocal seen
        if call.worker == "good" and types[drop_at[0]][call.subtask] == "plan":
            seen += 1
            return {} if seen == 1 else None
        return {}

    drop_at = [0]
    kept = []
    for place, record in enumerate(records):
        drop_at[0] = place
        kept += with_decisions([record], drop)
    fitted = fit_pool(log_table(kept))
    pairs = {(pair.worker, pair.task_type): pair for pair in fitted.pairs}
    rare = pairs["good", "plan"]
    assert rare.calls == 1 and rare.is_mostly_prior
    assert not pairs["good", "code"].is_mostly_prior
    # Near the worker's and the type's means, neither 0 nor 1.
    assert 0.4 < rare.success.value < 0.9
    skill = fitted.pool.workers.workers[fitted.pool.workers.index("good")].skills["plan"]
    assert "mostly from the worker's and the type's other calls" in skill.source


def test_pair_without_calls_is_left_out(records: Records) -> None:
    types = [record.planner_outputs.task_types for record in records]
    kept: Records = []
    for record, kinds in zip(records, types, strict=True):
        kept += with_decisions(
            [record],
            lambda _, call, kinds=kinds: (
                None  # type: ignore[misc]  # bound early
                if call.worker == "cheap" and kinds[call.subtask] == "plan"
                else {}
            ),
        )
    fitted = fit_pool(log_table(kept))
    assert fitted.unseen == (("cheap", "plan"),)
    cheap = fitted.pool.workers.workers[fitted.pool.workers.index("cheap")]
    assert "plan" not in cheap.skills


def test_without_retries_the_defaults_are_kept(records: Records) -> None:
    first = with_decisions(records, lambda _, call: {} if call.attempt == 0 else None)
    fitted = fit_pool(log_table(first))
    for name in ("difficulty_spread", "retry_correlation"):
        assert fitted.shared[name].value == pytest.approx(getattr(DEFAULTS, name))
        assert "the log cannot tell" in fitted.shared[name].note
    assert fitted.shared["unsolvable_share"].high > 0.03  # as likely beforehand
    assert fitted.shared["quality_coupling"].note == ""


def test_without_links_the_coupling_keeps_its_default(records: Records) -> None:
    apart = []
    for record in records:
        planned = record.planner_outputs
        size = len(planned.task_types)
        none = planned.workflow_graph.model_copy(update={"adjacency": ((0,) * size,) * size})
        planned = planned.model_copy(update={"workflow_graph": none})
        apart.append(record.model_copy(update={"planner_outputs": planned}))
    coupling = fit_pool(log_table(apart)).shared["quality_coupling"]
    assert coupling.value == DEFAULTS.quality_coupling
    assert "no subtask depends on another" in coupling.note


def test_where_all_parents_are_perfect_the_coupling_is_zero(records: Records) -> None:
    perfect = with_decisions(records, lambda _, call: {"quality": float(bool(call.success))})
    coupling = fit_pool(log_table(perfect)).shared["quality_coupling"]
    assert coupling.value == coupling.low == 0.0
    assert "quality 1" in coupling.note


def test_one_task_type_and_one_worker_are_enough(records: Records) -> None:
    one = with_decisions(records, lambda _, call: {"called": "only", "worker": "only"})
    same = []
    for record in one:
        planned = record.planner_outputs
        kinds = ("thing",) * len(planned.task_types)
        planned = planned.model_copy(update={"task_types": kinds})
        same.append(record.model_copy(update={"planner_outputs": planned}))
    fitted = fit_pool(log_table(same))
    assert fitted.pool.task_types == ("thing",)
    assert len(fitted.pairs) == 1
    assert 0.5 < fitted.pairs[0].success.value < 0.75
    assert "two workers" in fitted.shared["difficulty_spread"].note


def test_times_stand_for_tokens_that_are_not_logged(records: Records) -> None:
    silent = with_decisions(records, lambda _, call: {"output_tokens": 0})
    fitted = fit_pool(log_table(silent))
    assert fitted.timed == ("cheap", "good", "middle") and fitted.num_empty == 0
    log = log_table(silent)
    for pair in fitted.pairs:
        worker = fitted.pool.workers.workers[fitted.pool.workers.index(pair.worker)]
        truth = TRUTH.workers.workers[TRUTH.workers.index(pair.worker)]
        assert (worker.first_token_ms, worker.tokens_per_s) == (0.0, 1000.0)
        assert worker.output_usd_per_mtok == 0.0
        skill = worker.skills[pair.task_type]
        tokens = truth.skills[pair.task_type].output_tokens * math.exp(0.5**2 / 2.0)
        expected_ms = truth.first_token_ms + 1e3 * tokens / truth.tokens_per_s
        mean_ms = skill.output_tokens * math.exp(pair.token_spread.value**2 / 2.0)
        assert mean_ms == pytest.approx(expected_ms, rel=0.12)
    _meets_mean_costs(log, fitted)


def test_calls_without_tokens_and_times_keep_the_default_spread(records: Records) -> None:
    nothing = with_decisions(
        records, lambda _, call: {"output_tokens": 0, "end_ms": call.end_ms and call.start_ms}
    )
    fitted = fit_pool(log_table(nothing))
    assert fitted.num_empty == fitted.num_calls and fitted.timed == ()
    assert fitted.shared["token_spread"].value == DEFAULTS.token_spread
    assert "no pair has two calls with tokens" in fitted.shared["token_spread"].note


def _meets_mean_costs(log: LogTable, fitted: FittedPool) -> None:
    """Checks that each pair's simulated mean cost is the logged one, where no token has a price."""
    calls = log.calls
    for pair in fitted.pairs:
        w, t = log.workers.index(pair.worker), log.task_types.index(pair.task_type)
        own = (calls.worker == w) & (log.task_type[calls.subtask] == t)
        worker = fitted.pool.workers.workers[fitted.pool.workers.index(pair.worker)]
        cost = worker.skills[pair.task_type].input_tokens * worker.input_usd_per_mtok / 1e6
        assert cost == pytest.approx(calls.cost_usd[own].mean(), rel=1e-4)


def test_retries_that_always_repeat_the_call_are_found_to() -> None:
    """As those of recorded outcomes with one trial do."""
    certain = SimulationSettings(retry_correlation=1.0)
    data = builtin_dataset(pool=TRUTH.workers, simulation=certain, num_workflows=60)
    correlation = fit_pool(log_table(played_records(data, 300, seed=4))).shared["retry_correlation"]
    assert correlation.value > 0.995 and correlation.high > 0.999


def test_calls_that_never_overlap_tell_no_slowdown(records: Records) -> None:
    alone = with_decisions(records, lambda _, call: {"running": 0})
    slowdown = fit_pool(log_table(alone)).shared["load_slowdown"]
    assert (slowdown.value, slowdown.low, slowdown.high) == (0.0, 0.0, 10.0)
    assert "overlapped" in slowdown.note


def test_outliers_do_not_move_the_speed(records: Records) -> None:
    def stall(place: int, call: Any) -> dict[str, Any]:
        if place == 0 and call.end_ms is not None and int(call.cost * 1e9) % 20 == 0:
            return {"end_ms": call.end_ms + 60_000.0}
        return {}

    fitted = fit_pool(log_table(with_decisions(records, stall)))
    for worker in TRUTH.workers.workers:
        found = fitted.pool.workers.workers[fitted.pool.workers.index(worker.name)]
        assert found.tokens_per_s == pytest.approx(worker.tokens_per_s, rel=0.02)


def test_mean_times_are_met_though_some_calls_take_far_longer(records: Records) -> None:
    rng = np.random.default_rng(0)

    def slow(_: int, call: Any) -> dict[str, Any]:
        if call.end_ms is None:
            return {}
        factor = rng.lognormal(0.0, 0.8) if call.called != "good" else rng.exponential()
        return {"end_ms": call.start_ms + factor * (call.end_ms - call.start_ms)}

    log = log_table(with_decisions(records, slow))
    fitted = fit_pool(log)
    calls = log.calls
    for w, name in enumerate(log.workers):
        first, per_token = fitted.speeds[name]
        own = calls.worker == w
        alone = first.value + per_token.value * calls.output_tokens[own]
        load = 1.0 + fitted.shared["load_slowdown"].value * calls.running[own]
        assert (alone * load).sum() == pytest.approx(calls.latency_ms[own].sum(), rel=0.03)


def test_intervals_of_times_hold_the_truth_under_skewed_noise(log: LogTable) -> None:
    calls, rng, held = log.calls, np.random.default_rng(0), []
    first = [worker.first_token_ms for worker in TRUTH.workers.workers]
    token = [1e3 / worker.tokens_per_s for worker in TRUTH.workers.workers]
    truth = np.array([*first, *token, TRUTH.simulation.load_slowdown])
    for _ in range(40):
        noise = rng.lognormal(-0.125, 0.5, len(calls))
        noisy = dataclasses.replace(calls, latency_ms=calls.latency_ms * noise)
        found = fit_speed(dataclasses.replace(log, calls=noisy), np.ones(len(calls), bool))
        point = np.array([*found.first_token_ms, *found.token_ms, found.load_slowdown])
        held.append(np.abs(point - truth) <= 1.96 * found.deviation)
    assert 0.9 <= np.mean(held) <= 0.99
    assert np.mean(held, axis=0).min() > 0.8


def test_what_is_held_at_zero_has_an_interval(records: Records) -> None:
    """Calls that were faster beside others tell of no slowdown, but not to a millionth."""
    rng = np.random.default_rng(0)

    def noisy(_: int, call: Any) -> dict[str, Any]:
        if call.end_ms is None:
            return {}
        factor = rng.uniform(0.5, 1.5) / (1.0 + 0.3 * call.running)
        return {"end_ms": call.start_ms + factor * (call.end_ms - call.start_ms)}

    slowdown = fit_pool(log_table(with_decisions(records, noisy))).shared["load_slowdown"]
    assert slowdown.value == slowdown.low == 0.0
    assert 0.01 < slowdown.high < 0.2


def test_faults_count_as_failures_and_not_for_times(records: Records) -> None:
    faulty = with_decisions(
        records,
        lambda place, call: (
            {"fault": "timeout", "success": False, "end_ms": 3e5}
            if place == 0 and call.called == "middle"
            else {}
        ),
    )
    fitted = fit_pool(log_table(faulty))
    found = fitted.pool.workers.workers[fitted.pool.workers.index("middle")]
    assert found.tokens_per_s == pytest.approx(80.0, rel=1e-3)
    assert all(skill.success < 0.7 for skill in found.skills.values())
