"""The search picks the plan of the best expected score and links it without a cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from orchestai_env.errors import CyclicWorkflowError
from orchestai_env.workflow import is_valid_dag, topological_order
from supervised.planner.model import PlannerModel
from supervised.planner.search import Draft, FoundPlan, acyclic_links, best_draft, find_plans
from tests.supervised.small_planners import WordBag, grammar, small_planner

INSTRUCTIONS = [
    "fetch the apples, then wash the apples and slice the figs",
    "buy the leeks",
    "cook the beans and wash the plums, then slice the plums",
]
CHANCES = st.integers(0, 6).flatmap(
    lambda n: st_numpy.arrays(np.float64, (n, n), elements=st.sampled_from([0, 0.3, 0.6, 0.8, 1]))
)


@pytest.fixture(scope="module")
def model() -> PlannerModel:
    return small_planner(grammar(20, 0), WordBag(), max_subtasks=5)


def is_acyclic(n: int, links: Any) -> bool:
    try:
        topological_order(n, links)
    except CyclicWorkflowError:
        return False
    return True


@given(CHANCES, st.sampled_from([0.0, 0.5, 0.9]))
def test_links_are_acyclic_and_what_is_left_out_would_close_a_cycle(
    chances: np.ndarray, threshold: float
) -> None:
    links = acyclic_links(chances, threshold)

    n = len(chances)
    assert is_acyclic(n, links)
    assert list(links) == sorted(set(links))
    likely = [(int(i), int(j)) for i, j in zip(*np.nonzero(chances > threshold), strict=True)]
    assert set(links) <= set(likely)
    for i, j in set(likely) - set(links):
        stronger = [link for link in links if chances[link] >= chances[i, j]]
        assert not is_acyclic(n, [*stronger, (i, j)]), "a likely link is kept where it can be"
    if is_acyclic(n, likely):
        assert set(links) == set(likely)


def test_links_of_a_cycle_keep_the_likeliest() -> None:
    chances = np.zeros((3, 3))
    chances[0, 1], chances[1, 2], chances[2, 0], chances[1, 1] = 0.9, 0.6, 0.8, 1.0

    assert acyclic_links(chances) == ((0, 1), (2, 0))
    assert acyclic_links(np.array([[0.0, 0.5], [0.4, 0.0]])) == ()
    assert acyclic_links(np.array([[0.0, np.nan], [0.7, 0.0]])) == ((1, 0),)


def draft(names: str, *links: tuple[int, int]) -> Draft:
    """Returns a draft of one-letter texts, no two alike."""
    places = ["abcdef".index(name) for name in names]
    return Draft(
        texts=tuple(names),
        embeddings=np.eye(6, dtype=np.float32)[places],
        task_types=(0,) * len(names),
        links=links,
    )


def test_best_draft_is_the_one_that_most_of_the_samples_agree_with() -> None:
    right, other = draft("abc", (0, 1), (1, 2)), draft("def", (0, 1))

    best, confidence = best_draft([other, right], [right, right, other], [])

    assert best is right
    assert confidence == pytest.approx(2 / 3)


def test_best_draft_weighs_samples_and_similar_plans_alike() -> None:
    many, one = draft("ab", (0, 1)), draft("cd", (0, 1))

    _, half = best_draft([one], [many] * 5, [one])
    between = draft("abcd", (0, 1), (2, 3))
    best, confidence = best_draft([many, one, between], [many] * 5, [one])

    assert half == 0.5
    assert best is between, "half of everything beats all of one side"
    assert confidence == pytest.approx(2 / 3)


def test_best_draft_looks_at_links_and_takes_the_first_of_equal_ones() -> None:
    chain, fork = draft("abc", (0, 1), (1, 2)), draft("abc", (0, 1), (0, 2))
    again = draft("abc", (0, 1), (1, 2))

    best, confidence = best_draft([fork, chain, again], [chain], [chain])

    assert best is chain
    assert confidence == 1.0


def same(first: FoundPlan, second: FoundPlan) -> bool:
    return (
        first.workflow == second.workflow
        and first.confidence == pytest.approx(second.confidence, abs=1e-5)
        and bool(np.allclose(first.embeddings, second.embeddings, atol=1e-5))
    )


def test_found_plans_are_valid_and_their_embeddings_are_those_of_the_names(
    model: PlannerModel,
) -> None:
    for found, instruction in zip(find_plans(model, INSTRUCTIONS), INSTRUCTIONS, strict=True):
        names = [subtask.name for subtask in found.workflow.subtasks]
        assert found.workflow.instruction == instruction
        assert is_valid_dag(found.workflow)
        assert all(i < j for i, j in found.workflow.links)
        assert found.embeddings == pytest.approx(WordBag().embed(names), abs=1e-3)
        assert found.instruction_embedding == pytest.approx(WordBag().embed([instruction])[0])
        assert 0.0 <= found.confidence <= 1.0


def test_embeddings_follow_the_subtasks_where_links_reorder_them() -> None:
    model = small_planner(grammar(20, 0), WordBag(), max_subtasks=5, num_neighbours=0)
    with torch.no_grad():
        model.stop.bias.fill_(-50.0)
        model.edge_bias.fill_(3.0)
        model.edge_distance[:5] += 2.0  # links backward are the likelier ones

    for found in find_plans(model, INSTRUCTIONS):
        names = [subtask.name for subtask in found.workflow.subtasks]
        assert found.workflow.links
        assert found.embeddings == pytest.approx(WordBag().embed(names), abs=1e-3)


def test_found_plan_is_the_same_twice_and_in_every_company(model: PlannerModel) -> None:
    crowd = [*INSTRUCTIONS, *(f"wash the figs{' and fetch the pears' * k}" for k in range(35))]

    together = find_plans(model, crowd)

    assert all(map(same, together, find_plans(model, crowd)))
    for row in (0, 1, 2, 37):
        assert same(together[row], find_plans(model, [crowd[row]])[0])


def test_seed_of_the_samples_changes_what_is_found(model: PlannerModel) -> None:
    instructions = [flow.instruction for flow in grammar(10, 5).workflows]

    first = find_plans(model, instructions, seed=0, num_samples=2)
    other = find_plans(model, instructions, seed=1, num_samples=2)

    assert not all(map(same, first, other))


def test_search_draws_nothing_from_the_random_numbers_of_torch(model: PlannerModel) -> None:
    model.train()
    state = torch.get_rng_state()

    find_plans(model, INSTRUCTIONS)

    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training


def test_confidence_is_higher_where_all_training_plans_agree() -> None:
    train = grammar(20, 0)
    alike = train.take([0] * 20)
    instructions = [flow.instruction for flow in train.workflows]

    sure = find_plans(small_planner(alike, WordBag()), instructions[:1])[0]
    unsure = find_plans(small_planner(train, WordBag()), instructions[:1])[0]

    assert sure.workflow.subtasks == alike.workflows[0].subtasks
    assert sure.confidence > unsure.confidence
