"""Orchestrator: every workflow ends in a result, and the record says how."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import numba
import numpy as np
import pytest

from orchestai_env.errors import PlanningError
from orchestai_env.execution.calls.budget import Ledger
from orchestai_env.execution.checks.check_settings import Checks
from orchestai_env.execution.chooser import Chooser, RandomChooser
from orchestai_env.execution.execution import Means
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.orchestrator import Orchestrator, OrchestratorSettings
from orchestai_env.rules import EpisodeRules
from tests.orchestai_env.execution import virtual_time
from tests.orchestai_env.execution.orchestrating import (
    NAMES,
    FixedPlanner,
    bench,
    both,
    execute,
    known,
)
from tests.orchestai_env.execution.scripted_worker import ScriptedWorker, caller_of


def test_diamond_runs_its_branches_side_by_side() -> None:
    run = execute(both)

    assert run.result.success
    assert run.result.total_latency_ms == pytest.approx(3000.0)
    starts = [subtask.start_ms for subtask in run.result.subtasks]
    assert starts == pytest.approx([0.0, 1000.0, 1000.0, 2000.0])
    assert [subtask.name for subtask in run.result.subtasks] == [f"step {i}" for i in range(4)]


def test_record_is_logged_once_and_agrees_with_result_and_ledger() -> None:
    run = execute(both)

    assert run.log.records == [run.record]
    assert run.record.cost == run.result.total_cost == run.ledger.spent_usd
    assert run.record.cost == pytest.approx(sum(d.cost for d in run.record.decisions))
    assert run.record.latency_ms == run.result.total_latency_ms
    assert run.record.planner_outputs.workflow_graph.adjacency[0] == (0, 1, 1, 0)
    chosen = {d.subtask: d.worker for d in run.record.decisions}
    assert run.record.planner_outputs.model_selections == tuple(chosen[i] for i in range(4))
    again = ExecutionRecord.model_validate_json(run.record.model_dump_json())
    assert again == run.record


def test_outputs_of_parents_reach_their_children() -> None:
    seen: list[tuple[int, tuple[str, ...]]] = []

    class Witness(ScriptedWorker):
        async def call(self, request: Any) -> Any:
            seen.append((request.index, request.inputs))
            return await super().call(request)

    execute(lambda: [Witness(name) for name in NAMES])

    inputs = dict(seen)
    assert inputs[0] == ()
    assert len(inputs[3]) == 2
    assert all(text.startswith("answer of") for text in inputs[3])


class FirstThenSecond:
    """Calls the first worker first, and the second where that has failed."""

    name = "escalation"
    observation_keys = ("workers", "subtasks", "action_mask")

    def probabilities(self, obs: Any) -> Any:
        failed = obs["workers"][0, 5] > 0
        return np.array([0.0, 1.0]) if failed else np.array([1.0, 0.0])


def test_failed_call_is_decided_anew_and_the_chooser_sees_the_failure() -> None:
    def workers() -> list[ScriptedWorker]:
        return [ScriptedWorker(NAMES[0], ["refused"] * 9), ScriptedWorker(NAMES[1])]

    run = execute(workers, chooser=FirstThenSecond())

    assert run.result.success
    tried = [(d.attempt, d.worker, d.success, d.fault) for d in run.record.decisions]
    assert tried.count((0, NAMES[0], False, "refused")) == 4
    assert tried.count((1, NAMES[1], True, None)) == 4


def test_workflow_fails_when_its_attempts_are_used_up() -> None:
    def workers() -> list[ScriptedWorker]:
        return [ScriptedWorker(name, ["refused"] * 99) for name in NAMES]

    run = execute(workers)

    assert not run.result.success
    assert len(run.record.decisions) == 3
    assert run.result.subtasks[0].status == "failed"
    assert run.record.planner_outputs.model_selections[1:] == (None, None, None)


def test_workflow_that_takes_too_long_ends_at_its_deadline() -> None:
    settings = OrchestratorSettings(rules=EpisodeRules(deadline_ms=1500.0))
    run = execute(both, settings=settings)

    assert not run.result.success
    assert run.result.total_latency_ms == pytest.approx(1500.0)
    cut_off = [d for d in run.record.decisions if d.end_ms is None]
    assert [d.subtask for d in cut_off] == [1, 2]
    assert all(d.success is None and d.start_ms is not None for d in cut_off)


@pytest.mark.parametrize(
    ("rules", "latency_ms"),
    [
        (None, 300_000.0),
        (EpisodeRules(max_attempts=9), 300_000.0),
        (EpisodeRules(deadline_ms=100_000.0), 100_000.0),
        (EpisodeRules(deadline_ms=None), 6 * 59_000.0),
    ],
)
def test_workflow_has_300_s_where_its_rules_do_not_mention_a_deadline(
    rules: EpisodeRules | None, latency_ms: float
) -> None:
    run = execute(
        lambda: both(seconds=59.0),
        planner=lambda caller: FixedPlanner(6, tuple((i, i + 1) for i in range(5))),
        settings=None if rules is None else OrchestratorSettings(rules=rules),
    )

    assert run.record.latency_ms == pytest.approx(latency_ms)
    assert run.record.success == (latency_ms > 300_000.0)


def test_propensities_are_those_that_choices_are_drawn_by() -> None:
    settings = OrchestratorSettings(exploration=0.4)
    run = execute(both, chooser=FirstThenSecond(), settings=settings)

    for decision in run.record.decisions:
        assert decision.probabilities == pytest.approx({NAMES[0]: 0.8, NAMES[1]: 0.2})


def test_same_id_and_seed_draw_the_same_choices() -> None:
    def choices(seed: int) -> list[str]:
        async def main() -> list[str]:
            made = bench(
                both(),
                planner=lambda caller: FixedPlanner(12, ()),
                settings=OrchestratorSettings(seed=seed),
            )
            record, _ = await made.orchestrator.execute_async("go", execution_id="one")
            return [decision.worker for decision in record.decisions]

        return virtual_time.run(main())

    assert choices(3) == choices(3)
    assert choices(3) != choices(4)


def test_budget_of_a_workflow_masks_what_it_cannot_pay() -> None:
    settings = OrchestratorSettings(rules=EpisodeRules(cost_budget_usd=0.12, deadline_ms=60_000.0))
    run = execute(both, settings=settings)

    assert run.record.cost <= 0.12 + 0.05


def test_instruction_that_cannot_be_planned_is_refused() -> None:
    with pytest.raises(PlanningError, match="nothing to plan"):
        execute(both, instruction="")


def test_synchronous_callers_may_execute_again_and_again() -> None:
    orchestrator, ledger = ready()
    results = [orchestrator.execute(text) for text in ("first", "second")]
    orchestrator.close({})

    assert all(result.success for result in results)
    assert ledger.spent_usd == pytest.approx(sum(result.total_cost for result in results))


def test_close_ends_the_thread_and_closes_workers_in_the_loop_that_called_them() -> None:
    class Closing(ScriptedWorker):
        async def close(self) -> None:
            loops.append(asyncio.get_running_loop())

    loops: list[asyncio.AbstractEventLoop] = []
    orchestrator, _ = ready()
    workers = {"a": Closing("a"), "b": Closing("b")}
    orchestrator.close(workers)  # nothing was called
    assert not loops
    threads = set(threading.enumerate())
    orchestrator.execute("first")
    orchestrator.close(workers)
    orchestrator.close(workers)

    assert loops == [loops[0]] * 2
    assert loops[0].is_closed()
    assert all("planner" in one.name for one in set(threading.enumerate()) - threads)


def test_warm_up_loads_all_code_and_spares_it_from_collections() -> None:
    orchestrator, _ = ready()
    try:
        orchestrator.warm_up()
        assert gc.get_freeze_count() > 100_000
        with numba.core.event.install_recorder("numba:compile") as compiled:
            assert orchestrator.execute("first").success
        assert not compiled.buffer
    finally:
        gc.unfreeze()
        orchestrator.close({})


def test_warm_up_does_not_ask_for_what_only_plans_have() -> None:
    class Reader(RandomChooser):
        observation_keys = ("subtask", "action_mask")  # type: ignore[assignment]  # longer

    orchestrator, _ = ready(Reader())
    try:
        orchestrator.warm_up()
    finally:
        gc.unfreeze()


def ready(chooser: Chooser | None = None) -> tuple[Orchestrator, Ledger]:
    """Returns an orchestrator for callers that are not asynchronous, and what it charges."""
    ledger = Ledger()

    async def make() -> Any:
        return caller_of(*both(seconds=0.0), ledger=ledger)

    caller = asyncio.run(make())
    orchestrator = Orchestrator(
        known(),
        planner=FixedPlanner(),
        chooser=chooser or RandomChooser(),
        means=Means(caller=caller, check=Checks(), ledger=ledger),
    )
    return orchestrator, ledger
