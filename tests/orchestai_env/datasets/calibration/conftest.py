"""Logs of a known simulator, and a way to change what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.datasets.calibration.simulated_pool import SimulatedPool
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.calibration.played_log import played_records

TYPES = ("code", "extract", "plan")
TRUTH = SimulatedPool(
    task_types=TYPES,
    simulation=SimulationSettings(load_slowdown=0.2),
    workers=WorkerPool(
        tuple(
            WorkerSpec(
                name=name,
                input_usd_per_mtok=price,
                output_usd_per_mtok=4.0 * price,
                first_token_ms=100.0 * price,
                tokens_per_s=speed,
                concurrency=2,
                skills={
                    kind: TaskSkill(success=success, output_tokens=tokens, source="made up")
                    for kind, success, tokens in zip(TYPES, chances, (300, 50, 100), strict=True)
                },
            )
            for name, price, speed, chances in (
                ("cheap", 0.5, 150.0, (0.5, 0.7, 0.3)),
                ("good", 5.0, 50.0, (0.8, 0.9, 0.7)),
                ("middle", 1.0, 80.0, (0.6, 0.8, 0.5)),
            )
        )
    ),
)


def truth_records(executions: int, *, seed: int = 0, **how: Any) -> list[ExecutionRecord]:
    """Returns executions of the known simulator."""
    dataset = builtin_dataset(pool=TRUTH.workers, simulation=TRUTH.simulation, num_workflows=60)
    return list(played_records(dataset, executions, seed=seed, **how))


@pytest.fixture(scope="session")
def records() -> list[ExecutionRecord]:
    """600 executions of the known simulator, with random choices."""
    return truth_records(600)


@pytest.fixture(scope="session")
def log(records: list[ExecutionRecord]) -> LogTable:
    """The same as arrays."""
    return log_table(records)


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[[list[ExecutionRecord]], Path]:
    """Returns a function that writes a log file and names it."""

    def write(records: list[ExecutionRecord]) -> Path:
        path = tmp_path / "log.jsonl"
        lines = [record.model_dump_json() + "\n" for record in records]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    return write


def with_decisions(
    records: list[ExecutionRecord], change: Callable[[int, Any], dict[str, Any] | None]
) -> list[ExecutionRecord]:
    """Returns the records with changed decisions.

    Args:
        records: of a log.
        change: gets the place of a decision and the decision; returns fields to replace, or None to
            leave the decision out.
    """
    found = []
    for record in records:
        kept = []
        for place, decision in enumerate(record.decisions):
            fields = change(place, decision)
            if fields is not None:
                kept.append(decision.model_copy(update=fields))
        found.append(record.model_copy(update={"decisions": tuple(kept)}))
    return found
