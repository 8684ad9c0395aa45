"""Composing workflows out of shapes and queries."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from orchestai_env.datasets.compose import MAX_NAME_LENGTH, compose_workflows, to_workflows
from orchestai_env.datasets.queries import Queries
from orchestai_env.datasets.shapes import ShapeTable, random_shapes
from orchestai_env.errors import ConfigError, DataError
from orchestai_env.workflow_table import WorkflowTable

TYPES = ("code", "math", "text")
FORK_AND_PAIR = ShapeTable.from_shapes({(3, ((0, 1), (0, 2))): 3, (2, ()): 1})
QUERIES = Queries(
    ids=tuple(f"q{i}" for i in range(12)),
    prompts=tuple(f"Prompt\n number {i} " + "word " * i * 5 for i in range(12)),
    task_types=TYPES,
    task_type=np.array([0, 1] * 6, np.int32),
    split=("train",) * 12,
)


def compose(seed: int = 0, **changes: Any) -> WorkflowTable:
    arguments: dict[str, Any] = {
        "num_workflows": 200,
        "shapes": FORK_AND_PAIR,
        "query_rows": np.arange(12, dtype=np.int32),
        "task_type_of_query": QUERIES.task_type,
        "task_types": TYPES,
        "max_subtasks": 4,
    }
    return compose_workflows(np.random.default_rng(seed), **(arguments | changes))


def assert_tables_equal(first: WorkflowTable, second: WorkflowTable) -> None:
    assert first.task_types == second.task_types
    assert first.instruction_texts == second.instruction_texts
    for name in vars(first):
        if name not in ("task_types", "instruction_texts"):
            a, b = getattr(first, name), getattr(second, name)
            assert a.dtype == b.dtype == np.int32, name
            np.testing.assert_array_equal(a, b, err_msg=name)


@hypothesis.given(seed=st.integers(0, 2**32), max_subtasks=st.integers(5, 8))
@hypothesis.settings(max_examples=25, deadline=None)
def test_composed_table_equals_the_table_of_its_workflows(seed: int, max_subtasks: int) -> None:
    shapes = random_shapes(np.random.default_rng(seed), 20, 1, 5)
    table = compose(seed, shapes=shapes, max_subtasks=max_subtasks, num_workflows=30)

    again = WorkflowTable.from_workflows(
        to_workflows(table, QUERIES, id_prefix="w"),
        task_types=TYPES,
        max_subtasks=max_subtasks,
        query_index=QUERIES.row_of_id,
    )

    assert_tables_equal(table, again)


def test_queries_are_of_the_given_rows_and_of_their_type() -> None:
    rows = np.array([1, 4, 4, 7], np.int32)

    table = compose(query_rows=rows)

    used = table.query >= 0
    assert set(table.query[used]) == {1, 4, 7}
    np.testing.assert_array_equal(table.task_type[used], QUERIES.task_type[table.query[used]])
    np.testing.assert_array_equal(used.sum(axis=1), table.num_subtasks)


def test_types_are_uniform_and_queries_follow_their_multiplicity() -> None:
    rows = np.array([0, 1, 3, 3, 3], np.int32)

    table = compose(query_rows=rows, num_workflows=8_000)

    counts = np.bincount(table.query[table.query >= 0], minlength=4)
    assert counts / counts.sum() == pytest.approx([0.5, 0.125, 0, 0.375], abs=0.01)


def test_shapes_follow_their_counts() -> None:
    table = compose(num_workflows=8_000)

    assert (table.num_subtasks == 3).mean() == pytest.approx(0.75, abs=0.02)


def test_composing_follows_the_seed_and_not_the_padding() -> None:
    table, wider = compose(5), compose(5, max_subtasks=9)

    assert_tables_equal(table, compose(5))
    assert (compose(6).query != table.query).any()
    np.testing.assert_array_equal(wider.query[:, :3], table.query[:, :3])
    assert (wider.query[:, 3:] == -1).all()


def test_composing_refuses_no_queries_and_too_large_shapes() -> None:
    with pytest.raises(DataError, match="at least one query to compose"):
        compose(query_rows=np.zeros(0, np.int32))
    with pytest.raises(ConfigError, match="largest DAG shape has 3 subtasks, got a limit of 2"):
        compose(max_subtasks=2)


def test_workflows_have_unique_ids_and_one_line_names() -> None:
    workflows = to_workflows(compose(), QUERIES, id_prefix="train")

    assert len({workflow.id for workflow in workflows}) == len(workflows)
    assert workflows[3].id == "train-000003"
    names = {subtask.name for workflow in workflows for subtask in workflow.subtasks}
    assert all(len(name) <= MAX_NAME_LENGTH and "\n" not in name for name in names)
    assert "Prompt number 0 word" not in names
    assert "Prompt number 0" in names


def test_instruction_tells_types_and_needs() -> None:
    table = WorkflowTable.from_links(
        task_types=("code_reasoning", "math"),
        num_subtasks=np.array([2], np.int32),
        task_type=np.array([[1, 0]], np.int32),
        query=np.array([[0, 1]], np.int32),
        links=np.array([[0, 1]], np.int32),
        link_owner=np.array([0], np.int32),
    )

    (workflow,) = to_workflows(table, QUERIES, id_prefix="w")

    assert workflow.instruction == "Carry out these steps: 1. math; 2. code reasoning (needs 1)."
    assert workflow.links == ((0, 1),)
    assert [subtask.query_id for subtask in workflow.subtasks] == ["q0", "q1"]
