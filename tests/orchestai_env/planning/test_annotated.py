"""AnnotatedPlanner: the workflow of an instruction that is known."""

from __future__ import annotations

import pytest

from orchestai_env.errors import PlanningError
from orchestai_env.planning.annotated import AnnotatedPlanner
from orchestai_env.workflow import Subtask, Workflow


def workflow(name: str, instruction: str) -> Workflow:
    """Returns two subtasks whose link points backward."""
    subtasks = (Subtask(name="second", type="text"), Subtask(name="first", type="text"))
    return Workflow(id=name, instruction=instruction, subtasks=subtasks, links=((1, 0),))


def test_known_instruction_has_its_workflow_in_topological_order() -> None:
    planner = AnnotatedPlanner([workflow("a", "one"), workflow("b", "two")], ["text"])
    plan, other = planner.plan(["two", "one"])

    assert (plan.workflow.id, other.workflow.id) == ("b", "a")
    assert [subtask.name for subtask in plan.workflow.subtasks] == ["first", "second"]
    assert plan.workflow.links == ((0, 1),)


def test_first_of_two_with_the_same_instruction_counts() -> None:
    planner = AnnotatedPlanner([workflow("a", "one"), workflow("b", "one")], ["text"])

    assert planner.plan(["one"])[0].workflow.id == "a"


def test_unknown_instruction_is_refused() -> None:
    with pytest.raises(PlanningError, match="'three' is none of the 1 that it knows"):
        AnnotatedPlanner([workflow("a", "one")], ["text"]).plan(["three"])
