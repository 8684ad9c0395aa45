"""What the simulator hides of a subtask comes back from a log: difficulty, character, the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration.fit import FittedPool, fit_pool
from orchestai_env.datasets.calibration.log_table import log_table
from orchestai_env.datasets.calibration.simulated_pool import (
    SimulatedPool,
    load_simulated_pool,
    write_simulated_pool,
)
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.calibration.played_log import played_records

KINSHIP = {"a1": 0.7, "a2": 0.7, "b1": -0.7, "b2": -0.7}
SPREAD = {"a1": 0.6, "a2": 1.4, "b1": 0.6, "b2": 1.4}
LINKS = {"code": (0.4, -0.2), "plan": (0.0, 0.3)}


def hidden_pool(*, success: float = 0.55, unsolvable: float = 0.0) -> SimulatedPool:
    """Returns two families of workers, on types that differ in all that may differ."""
    workers = tuple(
        WorkerSpec(
            name=name,
            input_usd_per_mtok=1.0,
            output_usd_per_mtok=4.0,
            tokens_per_s=100.0,
            kinship=kinship,
            skills={
                kind: TaskSkill(
                    success=success,
                    input_tokens={"code": 600.0, "plan": 100.0}[kind],
                    output_tokens=200.0,
                    difficulty_spread=SPREAD[name],
                    token_spread={"code": 0.8, "plan": 0.4}[kind],
                    tokens_by_difficulty=LINKS[kind][0],
                    tokens_by_luck=LINKS[kind][1],
                    source="made up",
                )
                for kind in LINKS
            },
        )
        for name, kinship in KINSHIP.items()
    )
    settings = SimulationSettings(unsolvable_share=unsolvable, quality_coupling=0.3)
    return SimulatedPool(task_types=tuple(LINKS), simulation=settings, workers=WorkerPool(workers))


def fit_to(truth: SimulatedPool, executions: int) -> FittedPool:
    """Fits a log of executions with random choices."""
    dataset = builtin_dataset(pool=truth.workers, simulation=truth.simulation, num_workflows=80)
    return fit_pool(log_table(played_records(dataset, executions, seed=2, max_attempts=4)))


@pytest.fixture(scope="module")
def fitted() -> FittedPool:
    """Fitted to 2,500 executions."""
    return fit_to(hidden_pool(), 2500)


def test_families_are_told_apart(fitted: FittedPool) -> None:
    found = {name: one.value for name, one in fitted.kinship.items()}
    sign = np.sign(found["a1"])
    for name, truth in KINSHIP.items():
        assert sign * found[name] == pytest.approx(truth, abs=0.6), name
        assert fitted.kinship[name].low < found[name] < fitted.kinship[name].high


def test_unsolvable_share_is_found(fitted: FittedPool) -> None:
    """Where most calls succeed, failures of all workers stand out."""
    assert fitted.shared["unsolvable_share"].low == 0.0
    found = fit_to(hidden_pool(success=0.8, unsolvable=0.1), 800).shared["unsolvable_share"]
    assert found.value == pytest.approx(0.1, abs=0.03)
    assert 0.0 < found.low < found.value < found.high


def test_pairs_differ_in_spread_and_in_what_their_tokens_follow(fitted: FittedPool) -> None:
    spread = {name: [] for name in KINSHIP}  # type: ignore[var-annotated]
    for pair in fitted.pairs:
        spread[pair.worker].append(pair.difficulty_spread.value)
        by_difficulty, by_luck = LINKS[pair.task_type]
        assert pair.tokens_by_difficulty.value == pytest.approx(by_difficulty, abs=0.15)
        assert pair.tokens_by_luck.value == pytest.approx(by_luck, abs=0.2)
        truth = {"code": 0.8, "plan": 0.4}[pair.task_type]
        assert pair.token_spread.value == pytest.approx(truth, abs=0.05)
        # The tokens of repeated attempts, which are on hard subtasks, do not make them too many.
        assert pair.output_tokens.value == pytest.approx(200.0, rel=0.12)
        sent = {"code": 600.0, "plan": 100.0}[pair.task_type]
        assert pair.input_tokens.value == pytest.approx(sent, rel=1e-3)
    assert min(np.mean(spread["a2"]), np.mean(spread["b2"])) > 1.2 * max(
        np.mean(spread["a1"]), np.mean(spread["b1"])
    )


def test_fitted_pool_keeps_all_of_it_in_its_file(fitted: FittedPool, tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    write_simulated_pool(path, fitted.pool)
    again = load_simulated_pool(path)
    assert again == fitted.pool
    tables = simulated_tables(again.workers, again.task_types, again.simulation)[0]
    assert (tables.difficulty != 0.0).all() and (tables.token_weight != 0.0).all()


def test_files_from_before_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(
        "task_types: [code]\n"
        "simulation: {difficulty_spread: 0.5, retry_correlation: 0.7, quality_coupling: 0.5,\n"
        "  load_slowdown: 0.0, token_spread: 0.4}\n"
        "workers:\n"
        "- name: only\n"
        "  input_usd_per_mtok: 2.0\n"
        "  skills: {code: {success: 0.5, output_tokens: 100.0, source: calls}}\n"
    )
    pool = load_simulated_pool(path)
    tables, statistics = simulated_tables(pool.workers, pool.task_types, pool.simulation)
    assert tables.difficulty[:, 0, 0].tolist() == [0.5, 0.0]
    assert tables.token_weight[:, 0, 0].tolist() == [0.0, 0.0, 1.0]
    assert statistics.cost_usd[0, 0] == pytest.approx(200 * 2e-6)


def test_worker_that_never_failed_is_known_to_succeed_nearly_always() -> None:
    fitted = fit_to(hidden_pool(success=0.9999), executions=150)
    for pair in fitted.pairs:
        assert pair.successes == pair.calls > 50
        assert 1.0 - 5.0 / pair.calls < pair.success.low < pair.success.value
