"""Planners that learn nothing: which plan they copy, and that it is one the library takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.planning import Plan, Planner
from orchestai_env.planning.planner import checked_plans
from supervised.plans.baselines import (
    ChainPlanner,
    MostFrequentPlanner,
    NearestPlanner,
    chain_links,
)
from supervised.plans.dataset import PlanTarget, WorkflowDataset
from supervised.plans.library import PlanLibrary
from tests.supervised.planner_problems import WordEncoder, dataset, flow
from tests.supervised.random_plans import TYPES, plans

TRAIN = (
    flow("paint the old house", ["buy paint", "ask a friend", "paint"], [(0, 2), (1, 2)]),
    flow("bake a cake", ["mix", "bake"], [(0, 1)]),
    flow("write a poem", ["think"]),
)


def names(plan: Plan) -> list[str]:
    return [subtask.name for subtask in plan.workflow.subtasks]


@pytest.fixture
def nearest() -> NearestPlanner:
    return NearestPlanner.of(dataset(*TRAIN), WordEncoder())


def test_nearest_copies_the_plan_of_the_most_similar_instruction(nearest: NearestPlanner) -> None:
    house, cake = nearest.plan(["paint my house", "a cake"])

    assert names(house) == ["buy paint", "ask a friend", "paint"]
    assert house.workflow.links == ((0, 2), (1, 2))
    assert house.workflow.instruction == "paint my house"
    assert names(cake) == ["mix", "bake"]
    assert house.planner == cake.planner == "nearest"


def test_nearest_is_as_sure_as_the_instruction_is_similar(nearest: NearestPlanner) -> None:
    near, same, other = nearest.plan(["paint my house", "bake a cake", "zebra"])

    assert near.confidence == pytest.approx(2 / np.sqrt(3 * 4), abs=1e-3)
    assert same.confidence == pytest.approx(1.0, abs=1e-3) and same.confidence <= 1.0
    assert other.confidence == 0.0


def test_nearest_gives_the_embeddings_of_its_texts(nearest: NearestPlanner) -> None:
    (plan,) = nearest.plan(["a cake"])

    assert plan.instruction_embedding is not None and plan.subtask_embeddings is not None
    np.testing.assert_array_equal(plan.instruction_embedding, WordEncoder().embed(["a cake"])[0])
    np.testing.assert_allclose(
        plan.subtask_embeddings, WordEncoder().embed(["mix", "bake"]), atol=1e-3
    )


def test_no_instructions_have_no_plans(nearest: NearestPlanner) -> None:
    assert nearest.plan([]) == []


def test_library_of_a_checkpoint_plans_the_same(nearest: NearestPlanner) -> None:
    stored = PlanLibrary.from_state_dict(nearest.library.state_dict())
    loaded = NearestPlanner(stored, WordEncoder(), nearest.task_types)

    assert loaded.plan(["paint my house"]) == nearest.plan(["paint my house"])


def test_chain_links_the_subtasks_of_the_nearest_plan() -> None:
    (plan,) = ChainPlanner.of(dataset(*TRAIN), WordEncoder()).plan(["paint my house"])

    assert names(plan) == ["buy paint", "ask a friend", "paint"]
    assert plan.workflow.links == chain_links(3) == ((0, 1), (1, 2))
    assert plan.planner == "chain"
    assert chain_links(1) == ()


def test_most_frequent_plan_has_the_most_frequent_shape_and_texts() -> None:
    train = dataset(
        flow("a", ["one", "two", "three"], [(0, 1)]),
        flow("b", ["mix", "fry"], [(0, 1)]),
        flow("c", ["mix", "bake"], [(0, 1)]),
        flow("d", ["cut", "bake"], [(0, 1)]),
        flow("e", ["cut", "cut"], [(0, 1)], kind="draw"),
        flow("f", ["cut", "cut"]),
    )
    library = PlanLibrary.of(train, WordEncoder())
    planner = MostFrequentPlanner(library, train.vocabulary.task_types)

    first, second = planner.plan(["x", "y"])

    assert names(first) == names(second) == ["mix", "bake"]
    assert first.workflow.links == ((0, 1),)
    assert {subtask.type for subtask in first.workflow.subtasks} == {"write"}
    assert (first.workflow.instruction, second.workflow.instruction) == ("x", "y")
    assert first.confidence == 1.0


@given(plans(max_size=5), st.lists(st.text(min_size=1).filter(str.strip), max_size=3))
def test_baselines_keep_what_plans_promise(
    targets: list[PlanTarget], instructions: list[str]
) -> None:
    train = WorkflowDataset.from_plans(targets)
    encoder = _LengthEncoder()
    library, types = PlanLibrary.of(train, encoder), train.vocabulary.task_types
    planners: list[Planner] = [
        NearestPlanner(library, encoder, types),
        ChainPlanner(library, encoder, types),
        MostFrequentPlanner(library, types),
    ]
    for planner in planners:
        assert planner.task_types == types
        made = checked_plans(planner, instructions, task_types=TYPES, max_subtasks=6)
        assert len(made) == len(instructions)


class _LengthEncoder:
    """Embeds any text, whatever characters it has."""

    def embed(self, texts: list[str]) -> np.ndarray:
        """Returns float32 (n, 2), rows of length 1."""
        angle = np.array([len(text) for text in texts], np.float32)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
