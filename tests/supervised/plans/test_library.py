"""The library stores the training plans and finds the similar ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from supervised.plans.dataset import PlanTarget, WorkflowDataset
from supervised.plans.library import PlanLibrary
from tests.supervised.nested import assert_equal
from tests.supervised.random_plans import plans
from tests.supervised.small_planners import WordBag, grammar


class HashEncoder:
    """Gives every text a direction of its own, without knowing any word."""

    def embed(self, texts: list[str]) -> np.ndarray:
        """Returns float32 (n, 8), rows of length 1."""
        rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in texts]
        found = np.array(rows, np.float32).reshape(-1, 8)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def train() -> WorkflowDataset:
    return grammar(12, 0)


@pytest.fixture(scope="module")
def library(train: WorkflowDataset) -> PlanLibrary:
    return PlanLibrary.of(train, WordBag())


@given(plans(4))
def test_library_keeps_every_plan_row_by_row(drawn: list[PlanTarget]) -> None:
    dataset = WorkflowDataset.from_plans(drawn)
    library = PlanLibrary.of(dataset, HashEncoder())

    assert list(library.texts) == sorted(set(library.texts))
    assert library.text_embeddings.shape == (len(library.texts), 8)
    types = dataset.vocabulary.task_types
    for plan, flow in zip(library.plans, dataset.workflows, strict=True):
        assert [library.texts[k] for k in plan.texts] == [s.name for s in flow.subtasks]
        assert [types[k] for k in plan.task_types] == [s.type for s in flow.subtasks]
        assert plan.links == flow.links


def test_library_survives_its_state_bit_for_bit(library: PlanLibrary) -> None:
    again = PlanLibrary.from_state_dict(library.state_dict())

    assert (again.texts, again.plans) == (library.texts, library.plans)
    assert_equal(again.text_embeddings, library.text_embeddings)
    assert_equal(again.instruction_embeddings, library.instruction_embeddings)


def test_nearest_finds_the_plan_itself_first_and_the_rest_in_order(
    library: PlanLibrary, train: WorkflowDataset
) -> None:
    asked = torch.from_numpy(WordBag().embed([flow.instruction for flow in train.workflows]))

    rows, cosines = library.nearest(asked, 5)

    assert rows.shape == cosines.shape == (12, 5)
    assert torch.allclose(cosines[:, 0], torch.ones(12), atol=1e-3)
    assert (cosines.diff(dim=1) <= 0).all()


def test_nearest_leaves_own_rows_out_and_gives_what_there_is(library: PlanLibrary) -> None:
    asked = library.instruction_embeddings

    rows, cosines = library.nearest(asked, 50, own_rows=torch.arange(12))

    assert rows.shape == (12, 11)
    assert not (rows == torch.arange(12)[:, None]).any()
    assert torch.isfinite(cosines).all()


def test_nearest_of_none_and_of_a_lone_plan_is_empty(library: PlanLibrary) -> None:
    lone = PlanLibrary.of(grammar(1, 0), WordBag())

    assert library.nearest(library.instruction_embeddings, 0)[0].shape == (12, 0)
    assert lone.nearest(lone.instruction_embeddings, 3)[0].shape == (1, 1)
    assert lone.nearest(lone.instruction_embeddings, 3, torch.tensor([0]))[0].shape == (1, 0)
