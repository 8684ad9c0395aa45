"""What `prepare` makes of a log is what a planner learns from."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestai_env.datasets.prepare import PrepareRequest, prepare
from supervised.plans.files import read_plans
from tests.orchestai_env.datasets.log_lines import call, execution, write_log


@pytest.mark.parametrize("with_split", [False, True])
def test_prepared_data_teaches_what_the_log_does(with_split: bool, tmp_path: Path) -> None:
    calls = [call(0, "bob", success=False), call(0, "ace", attempt=1), call(1, "bob")]
    logs = write_log(
        tmp_path / "logs" / "executions-2026-11-23.jsonl",
        [
            execution("retried", calls=calls),
            execution("apart", instruction="Do both", links=[]),
            execution("unnamed", instruction="Do these", texts=["subtask 0", "subtask 1"]),
        ],
    )
    output = tmp_path / "training_data.json"

    prepare(PrepareRequest(logs=logs, output=output, split=with_split))

    prepared = read_plans(output).dataset.plans
    logged = read_plans(logs / "executions-2026-11-23.jsonl").dataset.plans
    assert [plan.workers for plan in prepared] == [plan.workers for plan in logged]
    for ours, theirs in zip(prepared, logged, strict=True):
        assert ours.workflow.instruction == theirs.workflow.instruction
        assert ours.workflow.subtasks == theirs.workflow.subtasks
        assert ours.workflow.links == theirs.workflow.links
    assert prepared[0].workers == ("ace", "bob")


def test_prepared_failures_teach_their_plan_alone(tmp_path: Path) -> None:
    logs = write_log(
        tmp_path / "logs" / "executions-2026-11-23.jsonl",
        [execution(calls=[call(0, "ace"), call(1, "ace", success=False)])],
    )
    output = tmp_path / "training_data.json"

    prepare(PrepareRequest(logs=logs, output=output))

    (plan,) = read_plans(output).dataset.plans
    assert plan.workers == (None, None) and len(plan.workflow.subtasks) == 2
