"""A planned data set is the data set with the plans as its workflows, and nothing else changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, PlanningError
from orchestai_env.planning import Plan, planned_dataset
from orchestai_env.workflow_table import WorkflowTable
from tests.orchestai_env.planning.planners import (
    TASK_TYPES,
    ChainPlanner,
    WrittenPlanner,
    annotated,
    builtin,
    chain,
    numbers,
    with_embeddings,
    written,
)
from tests.orchestai_env.toy import DIAMOND, toy_dataset

TEXTS = ("a", "b")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return builtin()


def assert_same_tables(first: WorkflowTable, second: WorkflowTable, *leave: str) -> None:
    """Asserts that two tables are equal but for some fields."""
    for field in dataclasses.fields(WorkflowTable):
        if field.name not in leave:
            np.testing.assert_array_equal(
                getattr(first, field.name), getattr(second, field.name), field.name
            )


def plan_with(text: str, *, size: int = 2, **fields: Any) -> Plan:
    """Returns a plan of a chain."""
    return Plan(workflow=chain(text, size), planner="written", confidence=1.0, **fields)


def test_annotated_plans_give_the_annotated_tables(data: Dataset) -> None:
    planner = written(annotated())
    planned, plans = planned_dataset(data, planner)

    assert [plan.workflow for plan in plans] == annotated()
    assert planner.asked == [list(data.workflows.instruction_texts or ())]
    assert_same_tables(planned.workflows, data.workflows, "query", "instruction")
    assert planned.outcomes is data.outcomes and planned.pool is data.pool
    assert planned.query_embeddings is planned.instruction_embeddings is None


def test_embeddings_are_those_of_the_plans(data: Dataset) -> None:
    planned, _ = planned_dataset(data, with_embeddings(written(annotated()), data))
    table, own = planned.workflows, data.workflows
    assert planned.query_embeddings is not None and data.query_embeddings is not None
    assert planned.instruction_embeddings is not None and data.instruction_embeddings is not None

    is_subtask = np.arange(own.max_subtasks) < own.num_subtasks[:, None]
    np.testing.assert_array_equal(
        planned.query_embeddings[table.query[is_subtask]],
        data.query_embeddings[own.query[is_subtask]],
    )
    np.testing.assert_array_equal(
        planned.instruction_embeddings[table.instruction],
        data.instruction_embeddings[own.instruction],
    )
    assert (table.query[~is_subtask] == -1).all()


def test_other_instructions_can_be_planned(data: Dataset) -> None:
    planned, plans = planned_dataset(data, ChainPlanner(size=3), TEXTS)

    assert planned.workflows.instruction_texts == TEXTS
    assert planned.workflows.num_subtasks.tolist() == [3, 3]
    assert planned.workflows.max_subtasks == data.workflows.max_subtasks
    assert [plan.workflow.instruction for plan in plans] == list(TEXTS)


def test_instructions_go_along_with_their_workflows(data: Dataset) -> None:
    few = data.with_workflows(data.workflows.take(np.array([3, 1])))
    planned, _ = planned_dataset(few, written(annotated()))

    assert_same_tables(
        planned.workflows, few.workflows, "query", "instruction", "parents", "children"
    )
    assert planned.workflows.links(0) == data.workflows.links(3)


@pytest.mark.parametrize("kind", ["instruction", "subtask"])
def test_one_plan_without_an_embedding_leaves_that_kind_out(data: Dataset, kind: str) -> None:
    both: dict[str, Any] = {
        "instruction_embedding": numbers(4),
        "subtask_embeddings": numbers(2, 4),
    }
    lacking = "instruction_embedding" if kind == "instruction" else "subtask_embeddings"
    plans = {"a": plan_with("a", **both), "b": plan_with("b", **(both | {lacking: None}))}
    planned, _ = planned_dataset(data, WrittenPlanner(plans), TEXTS)

    assert (planned.instruction_embeddings is None) == (kind == "instruction")
    assert (planned.query_embeddings is None) == (kind == "subtask")
    assert (planned.workflows.query == -1).all() == (kind == "subtask")


@pytest.mark.parametrize("kind", ["instruction", "subtask"])
def test_embeddings_of_two_sizes_are_refused(data: Dataset, kind: str) -> None:
    plans = {
        text: plan_with(text, instruction_embedding=numbers(size))
        if kind == "instruction"
        else plan_with(text, subtask_embeddings=numbers(2, size))
        for text, size in (("a", 4), ("b", 5))
    }
    with pytest.raises(
        PlanningError, match=r"instruction 'b': expected embeddings of 4 numbers, .* got 5$"
    ):
        planned_dataset(data, WrittenPlanner(plans), TEXTS)


def test_success_predictions_of_annotated_subtasks_are_left_out(data: Dataset) -> None:
    predicted = np.full((len(data.query_embeddings), len(data.pool)), 0.5, np.float32)  # type: ignore[arg-type]
    known = dataclasses.replace(data.statistics, predicted_success=predicted)
    planned, _ = planned_dataset(dataclasses.replace(data, statistics=known), ChainPlanner())

    assert planned.statistics.predicted_success is None
    np.testing.assert_array_equal(planned.statistics.success, data.statistics.success)


def test_recorded_outcomes_are_refused() -> None:
    planner = ChainPlanner(task_types=("type-0",))
    with pytest.raises(
        ConfigError, match=r"^planner: data set 'toy' has recorded outcomes, .*; use one with sim"
    ):
        planned_dataset(toy_dataset([DIAMOND]), planner, ["x"])


def test_strange_task_types_are_all_named(data: Dataset) -> None:
    planner = ChainPlanner(task_types=(TASK_TYPES[0], "cooking", "sewing"))
    with pytest.raises(ConfigError) as caught:
        planned_dataset(data, planner)

    assert str(caught.value).startswith("planner 'chain': expected the task types of data set")
    assert "got cooking, sewing as well" in str(caught.value)


@pytest.mark.parametrize("texts", [None, ()])
def test_missing_instructions_are_told(data: Dataset, texts: Any) -> None:
    bare = data.with_workflows(dataclasses.replace(data.workflows, instruction_texts=texts))
    with pytest.raises(ConfigError, match="has no instructions to plan; make its table with Work"):
        planned_dataset(bare, ChainPlanner())
    assert len(planned_dataset(bare, ChainPlanner(), ["x"])[1]) == 1


@pytest.mark.parametrize("planner", [3, "nearest", object(), ChainPlanner().plan])
def test_what_is_no_planner_is_told(data: Dataset, planner: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^planner: expected an object with name, task_types and"
    ):
        planned_dataset(data, planner)


def test_too_many_subtasks_are_refused(data: Dataset) -> None:
    with pytest.raises(PlanningError, match="instruction 'x': expected at most max_subtasks = 20"):
        planned_dataset(data, ChainPlanner(size=21), ["x"])
