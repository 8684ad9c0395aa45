"""What the orchestrator logs is played again as its agent saw it."""

from __future__ import annotations

import collections
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestai_env.datasets.importers.logged_workers import LoggedWorkers, survey
from orchestai_env.datasets.importers.replay import ReplayedEpisode, replay
from orchestai_env.errors import DataError
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.rules import EpisodeRules
from tests.orchestai_env.datasets.importers.executed import (
    KEYS,
    WEIGHTS,
    Case,
    Executed,
    execute,
    known_workers,
    workflow_of,
)

TASK_TYPES = known_workers([1]).task_types
DIAMOND = ((0, 1), (0, 2), (1, 3), (2, 3))

RULES = st.builds(
    EpisodeRules,
    max_attempts=st.integers(1, 3),
    max_parallel_tasks=st.integers(1, 4),
    on_failure=st.sampled_from(["abort", "continue"]),
    deadline_ms=st.sampled_from([None, 100.0005, 1_500.0, 300_000.0]),
    cost_budget_usd=st.sampled_from([None, 0.002, 0.006]),
    max_steps=st.sampled_from([None, None, 4]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draws a workflow, rules and workers."""
    size = draw(st.integers(1, 7))
    pairs = [(i, j) for j in range(size) for i in range(j)]
    links = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=8)) if pairs else []
    types = draw(st.lists(st.sampled_from(TASK_TYPES), min_size=size, max_size=size))
    return Case(
        workflow=workflow_of(types, sorted(links)),
        rules=draw(RULES),
        concurrency=draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)),
        has_fallbacks=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32)),
    )


def replayed(executed: Executed, **changes: Any) -> ReplayedEpisode:
    """Replays a record, its workers as they were known when it was made."""
    known = executed.known
    workers = LoggedWorkers(
        pool=known.pool,
        task_types=known.task_types,
        max_subtasks=known.workflows.max_subtasks,
        capable=known.outcomes.capable > 0,
        statistics=known.statistics,
        num_executions=1,
    )
    record = ExecutionRecord.model_validate_json(executed.record.model_dump_json())
    record = record.model_copy(update=changes)
    return replay(record, workers, rules=EpisodeRules(), weights=WEIGHTS)


def assert_same(again: ReplayedEpisode, executed: Executed) -> None:
    """Compares what is played again with what the agent saw, did and got."""
    decisions, names = executed.record.decisions, executed.known.pool.names
    assert again.actions.tolist() == [names.index(decision.worker) for decision in decisions]
    for key in KEYS:
        seen = np.stack([obs[key] for obs in executed.observations])
        np.testing.assert_array_equal(again.observations[key], seen, err_msg=key)
    np.testing.assert_allclose(again.rewards, executed.rewards, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(case=cases())
def test_replay_gives_what_the_agent_saw(case: Case) -> None:
    (executed,) = execute([case])

    assert_same(replayed(executed), executed)


def random_cases(n: int) -> Sequence[Case]:
    """Returns cases that meet every rule."""
    rng = random.Random(0)
    found = []
    for seed in range(n):
        size = rng.randint(2, 6)
        links = [(i, j) for j in range(size) for i in range(j) if rng.random() < 0.3]
        rules = EpisodeRules(
            max_attempts=rng.randint(1, 3),
            max_parallel_tasks=rng.randint(1, 4),
            on_failure="abort" if rng.random() < 0.5 else "continue",
            deadline_ms=rng.choice([None, 1_500.0, 300_000.0]),
            cost_budget_usd=rng.choice([None, 0.002, 0.006]),
            max_steps=rng.choice([None, None, 4]),
        )
        found.append(
            Case(
                workflow=workflow_of([TASK_TYPES[i % 3] for i in range(size)], links),
                rules=rules,
                concurrency=[rng.randint(1, 3) for _ in range(3)],
                has_fallbacks=rng.random() < 0.5,
                seed=seed,
            )
        )
    return found


def kinds(case: Case, executed: Executed) -> list[str]:
    """Returns what an execution met."""
    record, names = executed.record, executed.known.pool.names
    subtasks, decisions = record.execution_result.subtasks, record.decisions
    noted = collections.Counter(d.noted_ms for d in decisions if d.noted_ms is not None)
    masks = {tuple(d.probabilities or ()) for d in decisions}
    met = {
        "success": record.success,
        "deadline": record.latency_ms == case.rules.deadline_ms,
        "truncated": case.rules.max_steps == len(decisions),
        "nobody allowed": any(
            s.status == "failed" and s.attempts < case.rules.max_attempts for s in subtasks
        ),
        "some masked": any(0 < len(mask) < len(names) for mask in masks),
        "cut off": any(d.start_ms is not None and d.noted_ms is None for d in decisions),
        "several ends at once": max(noted.values(), default=0) > 1,
        "fallback": any(d.called not in (None, d.worker) for d in decisions),
        "queued": any(d.start_ms is not None and d.start_ms > d.decided_ms + 1 for d in decisions),
        "went on": case.rules.on_failure == "continue"
        and any(s.status == "failed" for s in subtasks)
        and len(subtasks) > 1,
    }
    return [kind for kind, is_met in met.items() if is_met]


def test_every_kind_of_execution_is_replayed() -> None:
    met: collections.Counter[str] = collections.Counter()
    found = random_cases(200)
    for case, executed in zip(found, execute(found), strict=True):
        assert_same(replayed(executed), executed)
        met.update(kinds(case, executed))

    assert len(met) == 10 and min(met.values()) >= 1, met


@pytest.fixture(scope="module")
def diamond() -> Executed:
    """One execution whose ends, decisions and starts all differ."""
    case = Case(
        workflow=workflow_of([TASK_TYPES[0]] * 4, DIAMOND),
        rules=EpisodeRules(),
        concurrency=[2, 2],
        has_fallbacks=False,
        seed=1,
    )
    return execute([case])[0]


def test_rules_of_the_line_count_and_others_are_refused(diamond: Executed) -> None:
    assert_same(replayed(diamond), diamond)
    assert any(decision.attempt for decision in diamond.record.decisions)
    with pytest.raises(DataError, match=r"expected a decision on subtask .* as logged, but by its"):
        replayed(diamond, rules=EpisodeRules(max_attempts=1))
    with pytest.raises(DataError, match="the same in all episodes, got spreads, min_workers or"):
        replayed(diamond, rules=EpisodeRules(shuffle_workers=True))


def test_interrupted_execution_is_refused(diamond: Executed) -> None:
    with pytest.raises(DataError, match="expected an execution that ended by itself"):
        replayed(diamond, interrupted=True)


def test_line_that_tells_no_times_of_notes_is_played_by_its_ends(diamond: Executed) -> None:
    bare = [
        decision.model_copy(update={"due_ms": None, "noted_ms": None})
        for decision in diamond.record.decisions
    ]
    again = replayed(diamond, decisions=tuple(bare), rules=None)

    assert again.subtasks.tolist() == [d.subtask for d in diamond.record.decisions]
    for key in ("adjacency", "action_mask"):
        seen = np.stack([obs[key] for obs in diamond.observations])
        np.testing.assert_array_equal(again.observations[key], seen, err_msg=key)
    np.testing.assert_allclose(again.rewards, diamond.rewards, atol=1e-2)


def test_survey_keeps_the_workers_in_action_order_and_all_rules() -> None:
    found = random_cases(12)
    executions = execute(found)
    workers = survey(executed.record for executed in executions)

    assert workers.pool.names == executions[0].known.pool.names
    assert set(workers.rules) == {case.rules for case in found}
    for executed in executions:
        again = replay(executed.record, workers, rules=EpisodeRules(), weights=WEIGHTS)
        mask = np.stack([obs["action_mask"] for obs in executed.observations])
        np.testing.assert_array_equal(again.observations["action_mask"], mask)
