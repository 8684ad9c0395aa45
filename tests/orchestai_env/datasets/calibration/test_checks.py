"""The checks on held-out executions: reliability, replay and comparison."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_dataset, builtin_pool
from orchestai_env.datasets.calibration.calibrate import STEPS, Calibration, calibrate
from orchestai_env.datasets.calibration.comparison import compare
from orchestai_env.datasets.calibration.figures import draw_comparison
from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.datasets.calibration.reliability import predict_success, reliability
from orchestai_env.datasets.calibration.replay import logged_rules, replay
from orchestai_env.datasets.calibration.report import PAGE, SUMMARY, write_report
from orchestai_env.datasets.calibration.simulated_pool import (
    load_simulated_pool,
    write_simulated_pool,
)
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import ConfigError
from tests.orchestai_env.datasets.calibration.conftest import TRUTH, truth_records
from tests.orchestai_env.play import play, random_actions


@pytest.fixture(scope="module")
def found(log: LogTable) -> Calibration:
    steps = []
    calibration = calibrate(log, held_out=0.4, on_step=lambda: steps.append(1))
    assert len(steps) == STEPS
    return calibration


def test_reliability_of_right_predictions_is_good() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.random(50_000)
    right = reliability(predicted, rng.random(50_000) < predicted)
    assert right.calibration_error < 0.01
    draws = [reliability(predicted, rng.random(50_000) < predicted) for _ in range(100)]
    errors = [draw.calibration_error for draw in draws]
    assert right.chance_error == pytest.approx(np.mean(errors), rel=0.1)
    assert right.brier == pytest.approx(1 / 6, abs=0.01)
    assert sum(right.bin_calls) == right.num_calls == 50_000
    wrong = reliability(predicted, rng.random(50_000) < 0.5)
    assert wrong.calibration_error == pytest.approx(0.25, abs=0.01)


def test_predictions_under_the_truth_are_reliable(log: LogTable) -> None:
    cells = np.arange(len(log.task_types) * len(log.workers))
    predicted, known = predict_success(log, np.ones(len(log.calls), bool), TRUTH, cells)
    assert known.all()
    # The error of so many calls in 10 bins under the truth itself is about 0.02.
    assert reliability(predicted, log.calls.success).calibration_error < 0.04
    retry = log.calls.attempt > 0
    assert predicted[retry].mean() < predicted[~retry].mean() - 0.1


def test_predictions_leave_out_subtasks_of_unknown_pairs(log: LogTable) -> None:
    cells = np.arange(1, len(log.task_types) * len(log.workers))
    predicted, known = predict_success(log, np.ones(len(log.calls), bool), TRUTH, cells)
    assert len(predicted) == known.sum()
    cell = log.task_type[log.calls.subtask] * len(log.workers) + log.calls.worker
    assert not known[cell == 0].any() and known.any()


def test_replay_under_the_truth_meets_the_log(log: LogTable) -> None:
    """600 executions of the simulator itself: what is compared differs by chance alone."""
    replayed = replay(log, np.ones(log.num_executions, bool), TRUTH, seed=3)
    assert replayed is not None
    row = compare(log, replayed).executions
    for measure in (row.success, row.cost_usd, row.makespan_ms):
        assert measure.simulated == pytest.approx(measure.logged, rel=0.1)


def test_comparison_has_a_row_for_each_type_and_worker(found: Calibration, log: LogTable) -> None:
    assert found.comparison is not None
    assert [row.name for row in found.comparison.task_types] == list(log.task_types)
    assert [row.name for row in found.comparison.workers] == list(log.workers)
    for row in (*found.comparison.task_types, *found.comparison.workers):
        assert row.count > 0
        assert 0.0 <= row.success.low <= row.success.logged <= row.success.high
        assert row.cost_usd.simulated == pytest.approx(row.cost_usd.logged, rel=0.35)


def test_waits_for_other_executions_are_told_apart(log: LogTable) -> None:
    """The simulator, which plays one execution at a time, has the waits within it only."""
    calls = dataclasses.replace(log.calls, start_ms=log.calls.start_ms + 500.0)
    waits = []
    for one in (log, dataclasses.replace(log, calls=calls)):
        replayed = replay(log, np.ones(log.num_executions, bool), TRUTH, seed=3)
        assert replayed is not None
        waits.append(compare(one, replayed).wait_ms)
    assert waits[0].simulated == pytest.approx(waits[0].logged, rel=0.2)
    assert waits[1].logged == pytest.approx(waits[0].logged + 500.0)
    assert waits[1].simulated == waits[0].simulated


def test_chains_of_calls_are_the_makespans_where_no_call_waits() -> None:
    log = log_table(truth_records(300, max_attempts=2, on_failure="continue"))
    ended = np.zeros(log.num_executions)
    np.maximum.at(ended, log.calls.execution, log.calls.start_ms + log.calls.latency_ms)
    waits = np.zeros(log.num_executions, bool)
    waits[log.calls.execution[log.calls.start_ms > log.calls.decided_ms]] = True
    assert 30 < waits.sum() < 270
    replayed = replay(log, ~waits, TRUTH, seed=0)
    assert replayed is not None
    chain = compare(log, replayed).chain_ms
    assert chain.logged == pytest.approx(ended[~waits].mean(), rel=1e-6)
    replayed = replay(log, waits, TRUTH, seed=0)
    assert replayed is not None
    chain = compare(log, replayed).chain_ms
    assert chain.logged < 0.99 * ended[waits].mean()


def test_logged_rules_are_those_that_were_played() -> None:
    log = log_table(truth_records(200, max_attempts=2, max_parallel_tasks=2))
    rules = logged_rules(log)
    assert (rules.max_attempts, rules.max_parallel_tasks, rules.on_failure) == (2, 2, "abort")
    log = log_table(truth_records(200, max_attempts=1, on_failure="continue"))
    assert logged_rules(log).on_failure == "continue"


def test_replay_leaves_out_types_that_were_not_fitted(log: LogTable) -> None:
    poorer = TRUTH.model_copy(update={"task_types": ("code", "extract")})
    replayed = replay(log, np.ones(log.num_executions, bool), poorer, seed=0)
    assert replayed is not None
    assert replayed.num_left_out + len(replayed.executions) == log.num_executions
    none = TRUTH.model_copy(update={"task_types": ()})
    assert replay(log, np.ones(log.num_executions, bool), none, seed=0) is None


def test_report_is_written_whole(found: Calibration, tmp_path: Path) -> None:
    files = {path.name for path in write_report(found, tmp_path / "report")}
    assert files == {path.name for path in (tmp_path / "report").iterdir()}
    page = (tmp_path / "report" / PAGE).read_text(encoding="utf-8")
    for name in ("difficulty_spread", "cheap", "extract", "calibration error", "ignorable"):
        assert name in page
    for name in files - {PAGE, SUMMARY}:
        assert f"]({name})" in page
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["pro $5_$ plan", "大"], ids=["dollars", "script"])
def test_pictures_take_any_name(found: Calibration, tmp_path: Path, name: str) -> None:
    assert found.comparison is not None
    row = dataclasses.replace(found.comparison.workers[0], name=name)
    draw_comparison([row], "worker", tmp_path / "workers.png")
    assert (tmp_path / "workers.png").is_file()


def test_report_leaves_out_what_the_simulation_never_came_to(
    found: Calibration, tmp_path: Path
) -> None:
    assert found.comparison is not None
    row = found.comparison.workers[0]
    never = dataclasses.replace(row.success, simulated=float("nan"))
    rows = (dataclasses.replace(row, success=never), *found.comparison.workers[1:])
    comparison = dataclasses.replace(found.comparison, workers=rows)
    write_report(dataclasses.replace(found, comparison=comparison), tmp_path)
    assert ") / none |" in (tmp_path / PAGE).read_text(encoding="utf-8")
    summary = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    assert summary["comparison"]["workers"][0]["success"]["simulated"] is None


def test_report_without_held_out_executions_says_so(log: LogTable, tmp_path: Path) -> None:
    calibration = calibrate(log, held_out=0.0)
    assert calibration.comparison is None and calibration.reliability is None
    write_report(calibration, tmp_path)
    assert "Nothing was held out" in (tmp_path / PAGE).read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {PAGE, SUMMARY}


def test_report_tells_what_it_cannot_know(log: LogTable, tmp_path: Path) -> None:
    silent = log.workers.index("good")
    answers = log.calls.worker != silent
    calls = dataclasses.replace(log.calls, has_answer=answers, success=log.calls.success & answers)
    same = np.zeros_like(log.instruction_hash)
    calibration = calibrate(dataclasses.replace(log, calls=calls, instruction_hash=same))
    assert 0.15 < calibration.num_held_out / log.num_executions < 0.25
    write_report(calibration, tmp_path)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "held out, one by one" in page and "too few different instructions" in page
    assert "good: no call was answered" in page


def test_calibrate_refuses_a_share_out_of_range(log: LogTable) -> None:
    with pytest.raises(ConfigError, match=r"held_out: expected a share in 0\.\.0\.9, got 1"):
        calibrate(log, held_out=1.0)


def test_fitted_pool_is_read_back_and_played(found: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "workers.yaml"
    write_simulated_pool(path, found.fitted.pool)
    pool = load_simulated_pool(path)
    assert pool == found.fitted.pool
    dataset = builtin_dataset(pool=pool.workers, simulation=pool.simulation, num_workflows=5)
    env = OrchestAIEnv(dataset=dataset)
    assert play(env, random_actions(len(pool.workers), 0), seed=0).terminated


def test_builtin_workers_are_such_a_file() -> None:
    workers, task_types = builtin_pool()
    file = Path(__file__).parents[4] / "orchestai_env" / "datasets" / "builtin_workers.yaml"
    pool = load_simulated_pool(file)
    assert (pool.workers, pool.task_types) == (workers, task_types)


def test_calibration_of_a_log_is_the_same_twice(log: LogTable, found: Calibration) -> None:
    again = calibrate(log, held_out=0.4)
    assert again.fitted.pool == found.fitted.pool
    assert again.comparison == found.comparison
    assert dataclasses.asdict(again)["reliability"] == dataclasses.asdict(found)["reliability"]
