"""LogTable: what it keeps of an execution log."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.execution.log.record import ExecutionRecord, PlannerOutputs

Records = list[ExecutionRecord]


def test_log_table_keeps_every_call_that_ended(records: Records, log: LogTable) -> None:
    decisions = [call for record in records for call in record.decisions]
    ended = [call for call in decisions if call.success is not None]
    assert len(log.calls) == len(ended)
    assert log.num_open == len(decisions) - len(ended)
    assert len(log.open_calls.worker) == log.num_open  # all had started
    assert log.calls.cost_usd.sum() == pytest.approx(sum(call.cost for call in ended))
    assert [log.workers[w] for w in log.calls.worker] == [call.called for call in ended]
    assert log.success.sum() == sum(record.success for record in records)


def test_interrupted_and_unplanned_executions_are_left_out(records: Records) -> None:
    cut = records[0].execution_result.model_copy(update={"success": False})
    interrupted = {"interrupted": True, "success": False, "execution_result": cut}
    nothing = PlannerOutputs.model_validate(
        {"model_selections": (), "task_types": (), "workflow_graph": {"adjacency": ()}}
    )
    unplanned = {"decisions": (), "planner_outputs": nothing}
    others = [records[0].model_copy(update=changed) for changed in (interrupted, unplanned)]
    log = log_table([*others, *records[1:20]])
    assert (log.num_executions, log.num_left_out) == (19, 2)
    assert log.calls.cost_usd.tolist() == log_table(records[1:20]).calls.cost_usd.tolist()


def test_parent_quality_is_the_mean_of_what_succeeded(records: Records, log: LogTable) -> None:
    for e, record in enumerate(records[:50]):
        won = {call.subtask: call.quality for call in record.decisions if call.success}
        adjacency = record.planner_outputs.workflow_graph.adjacency
        for call in record.decisions:
            parents = [i for i in range(len(adjacency)) if adjacency[i][call.subtask]]
            expected = np.mean([won[i] for i in parents]) if parents else 1.0
            row = log.first_subtask[e] + call.subtask
            assert log.parent_quality[row] == pytest.approx(expected)
            assert log.num_parents[row] == len(parents)


def test_a_call_belongs_to_the_worker_that_answered(records: Records) -> None:
    call = records[0].decisions[0].model_copy(update={"worker": "chosen", "called": "fallback"})
    record = records[0].model_copy(update={"decisions": (call,)})
    assert log_table([record]).workers == ("fallback",)


def test_held_out_keeps_an_instruction_on_one_side(records: Records) -> None:
    same = [record.model_copy(update={"instruction": " do  it "}) for record in records[:5]]
    same += [record.model_copy(update={"instruction": "do it"}) for record in records[5:10]]
    sides = log_table([*same, *records[10:]]).held_out(0.5)
    assert len(set(sides[:10].tolist())) == 1


@pytest.mark.parametrize("text", ["", "the only one", "another"])
def test_executions_are_dealt_one_by_one_where_instructions_are_all_the_same(
    records: Records, text: str
) -> None:
    """As where a redaction keeps them out of the log."""
    log = log_table([record.model_copy(update={"instruction": text}) for record in records])
    for share in (0.2, 0.5, 0.9):
        assert log.held_out(share).mean() == pytest.approx(share, abs=0.01)
    assert not log.held_out(0.0).any()


def test_held_out_takes_about_its_share(log: LogTable) -> None:
    assert log.held_out(0.3).mean() == pytest.approx(0.3, abs=0.06)
    assert not log.held_out(0.0).any()
    assert (log.held_out(0.5) | ~log.held_out(0.2)).all()  # a larger share holds the smaller one
