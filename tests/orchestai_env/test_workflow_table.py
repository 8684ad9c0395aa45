"""WorkflowTable: workflows as arrays and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import CyclicWorkflowError, WorkflowError
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable, sorted_links

TYPES = ("math", "code")


def workflow(name: str, types: str, *links: tuple[int, int], queries: str = "") -> Workflow:
    kinds = {"m": "math", "c": "code", "x": "coed"}
    ids: list[str | None] = list(queries) or [None] * len(types)
    return Workflow(
        id=name,
        instruction="Do it.",
        subtasks=tuple(
            Subtask(name="a step", type=kinds[kind], query_id=query)
            for kind, query in zip(types, ids, strict=True)
        ),
        links=links,
    )


def table_of(*workflows: Workflow, **changes: Any) -> WorkflowTable:
    arguments: dict[str, Any] = {"task_types": TYPES, "max_subtasks": 4} | changes
    return WorkflowTable.from_workflows(workflows, **arguments)


def test_table_holds_types_queries_and_padding() -> None:
    table = table_of(
        workflow("a", "mc", (0, 1), queries="pq"),
        workflow("b", "c", queries="p"),
        query_index={"p": 7, "q": 3},
    )

    assert len(table) == 2
    assert table.max_subtasks == 4
    assert table.task_types == TYPES
    assert table.num_subtasks.tolist() == [2, 1]
    assert table.task_type.tolist() == [[0, 1, -1, -1], [1, -1, -1, -1]]
    assert table.query.tolist() == [[7, 3, -1, -1], [7, -1, -1, -1]]
    assert table.instruction.tolist() == [-1, -1]
    arrays = (table.task_type, table.query, table.instruction, table.parents)
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}


def test_table_sorts_subtasks_topologically() -> None:
    # Subtask 0 needs 2, which is of the other type.
    table = table_of(workflow("a", "mmc", (2, 0)))

    assert table.task_type[0].tolist() == [0, 1, 0, -1]
    assert table.links(0) == ((1, 2),)


def test_table_lists_parents_and_children_in_order() -> None:
    diamond = workflow("a", "mmmm", (0, 2), (0, 1), (2, 3), (1, 3), (1, 3))
    table = table_of(diamond, workflow("b", "m"))

    assert table.num_parents.tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    assert table.parents[0].tolist() == [[-1, -1], [0, -1], [0, -1], [1, 2]]
    assert table.num_children[0].tolist() == [2, 1, 1, 0]
    assert table.children[0].tolist() == [[1, 2], [3, -1], [3, -1], [-1, -1]]
    assert table.links(0) == ((0, 1), (0, 2), (1, 3), (2, 3))
    assert table.links(1) == ()


@st.composite
def forward_workflows(draw: st.DrawFn) -> Workflow:
    size = draw(st.integers(1, 6))
    pairs = [(i, j) for j in range(size) for i in range(j)]
    links = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    return workflow("w", "m" * size, *links)


@given(flows=st.lists(forward_workflows(), min_size=1, max_size=4))
def test_table_keeps_the_links_of_every_workflow(flows: list[Workflow]) -> None:
    table = table_of(*flows, max_subtasks=6)

    for k, flow in enumerate(flows):
        assert set(table.links(k)) == set(flow.topologically_sorted().links)
        for i in range(6):
            parents = table.parents[k, i, : table.num_parents[k, i]]
            assert sorted(parents) == [a for a, b in table.links(k) if b == i]


def test_take_selects_by_index_in_the_order_given() -> None:
    table = table_of(workflow("a", "mc", (0, 1)), workflow("b", "c"), workflow("c", "mmm"))
    table = dataclasses.replace(table, instruction=np.array([5, 7, 9], np.int32))
    taken = table.take(np.array([2, 0, 0]))

    assert taken.num_subtasks.tolist() == [3, 2, 2]
    assert taken.instruction.tolist() == [9, 5, 5]
    assert taken.links(1) == ((0, 1),)
    assert taken.task_types == TYPES


def test_instructions_go_along_with_their_workflows() -> None:
    flows = [workflow("a", "mc"), dataclasses.replace(workflow("b", "c"), instruction="Undo it.")]
    texts = tuple(flow.instruction for flow in flows)
    table = table_of(*flows)

    assert table.instruction_texts == texts
    assert table.take(np.array([1, 1, 0])).instruction_texts == (texts[1], texts[1], texts[0])


def test_table_of_recorded_queries_keeps_no_instructions() -> None:
    table = table_of(workflow("a", "m", queries="p"), query_index={"p": 0})

    assert table.instruction_texts is None
    assert table.take(np.array([0])).instruction_texts is None


WRONG: list[tuple[list[Workflow], dict[str, Any], str]] = [
    ([], {}, "expected at least one workflow, got none"),
    ([workflow("a", "mmmmm")], {}, "'a': 5 subtasks, but max_subtasks is 4; raise it or split"),
    (
        [workflow("a", "mx")],
        {},
        r"'a', subtask 1: unknown task type 'coed'\. Did you mean 'code'\? Known: code, math",
    ),
    (
        [workflow("a", "m", queries="z")],
        {"query_index": {"p": 0}},
        "'a', subtask 0: no recorded outcome for query 'z'; import",
    ),
    ([workflow("a", "m")], {"query_index": {"p": 0}}, "no recorded outcome for query None"),
    ([workflow("a", "m", (0, 3))], {}, r"'a': link \[0, 3\] leaves the subtasks"),
]


@pytest.mark.parametrize(("flows", "changes", "message"), WRONG)
def test_wrong_workflow_is_named(
    flows: list[Workflow], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(WorkflowError, match=message):
        table_of(*flows, **changes)


def test_cyclic_workflow_is_named() -> None:
    with pytest.raises(CyclicWorkflowError, match=r"'ring': the links form a cycle .*\[0, 1\]"):
        table_of(workflow("good", "m"), workflow("ring", "mm", (0, 1), (1, 0)))


@pytest.mark.parametrize("link", [(1, 0), (1, 1), (-1, 1), (0, 2)])
def test_link_that_does_not_point_forward_is_refused(link: tuple[int, int]) -> None:
    with pytest.raises(WorkflowError, match=r"workflow 1: links must point forward within 0\.\.1"):
        WorkflowTable.from_links(
            task_types=TYPES,
            num_subtasks=np.array([3, 2], np.int32),
            task_type=np.zeros((2, 3), np.int32),
            query=np.full((2, 3), -1, np.int32),
            links=np.array([(0, 2), link], np.int32),
            link_owner=np.array([0, 1], np.int32),
        )


def test_links_come_with_the_rows_of_instructions() -> None:
    table = WorkflowTable.from_links(
        task_types=TYPES,
        num_subtasks=np.array([1, 1], np.int32),
        task_type=np.zeros((2, 1), np.int32),
        query=np.full((2, 1), -1, np.int32),
        links=np.zeros((0, 2), np.int32),
        link_owner=np.zeros(0, np.int32),
        instruction=np.array([4, 2], np.int32),
    )

    assert table.instruction.tolist() == [4, 2]


def test_sorted_links_renumbers_a_bare_dag() -> None:
    assert sorted_links(3, [(2, 0), (2, 1), (2, 0)]) == ((0, 1), (0, 2))
    with pytest.raises(CyclicWorkflowError):
        sorted_links(2, [(0, 1), (1, 0)])
