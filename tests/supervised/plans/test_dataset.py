"""WorkflowDataset: order, labels, padding, and every workflow that is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import (
    CyclicWorkflowError,
    DataError,
    UnknownWorkerError,
    WorkflowError,
)
from orchestai_env.workflow import Subtask, Workflow
from supervised.plans.dataset import (
    IGNORED,
    PlanBatch,
    PlanTarget,
    PlanVocabulary,
    WorkflowDataset,
    collate,
    template_text,
)
from tests.supervised.random_plans import plans

WORDS = PlanVocabulary(task_types=("draw", "math", "write"), workers=("ann", "bob"))


def dataset(**changes: Any) -> WorkflowDataset:
    """Returns two workflows; the first is stored as third -> first -> second subtask."""
    arguments: dict[str, Any] = {
        "instructions": ["Sum and plot.", "Say hello."],
        "subtask_sequences": [["plot", "tell", "sum"], ["hello"]],
        "task_types": [["draw", "write", "math"], ["write"]],
        "dependencies": [[(2, 0), (0, 1), (2, 0)], []],
        "model_selections": [["ann", None, "bob"], [None]],
    }
    return WorkflowDataset(**arguments | changes)


def test_rows_are_stored_in_topological_order_with_all_parts_permuted_alike() -> None:
    example = dataset(vocabulary=WORDS)[0]

    assert example.texts == ("sum", "plot", "tell")
    assert example.task_types.tolist() == [1, 0, 2]
    assert example.model_selections.tolist() == [1, 0, IGNORED]
    assert example.adjacency.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert example.row == 0
    assert (example.task_types.dtype, example.adjacency.dtype) == (torch.int64, torch.float32)


def test_vocabulary_is_by_default_what_occurs() -> None:
    assert dataset().vocabulary == WORDS
    without = dataset(model_selections=None)
    assert without.vocabulary.workers == ()
    assert without[0].model_selections.tolist() == [IGNORED] * 3


def test_take_keeps_vocabulary_and_numbers_rows_anew() -> None:
    part = dataset().take([1])

    assert len(part) == 1
    assert part.vocabulary == WORDS
    assert (part[0].row, part[0].instruction) == (0, "Say hello.")
    assert part[0].task_types.tolist() == [2]


def test_collate_pads_to_the_longest_or_to_the_size_asked_for() -> None:
    data = dataset()
    batch, wider = collate([data[1], data[0]]), collate([data[1]], max_subtasks=4)

    assert batch.rows.tolist() == [1, 0]
    assert batch.task_types.tolist() == [[2, IGNORED, IGNORED], [1, 0, 2]]
    assert batch.subtask_mask.tolist() == [[True, False, False], [True, True, True]]
    assert batch.num_subtasks.tolist() == [1, 3]
    assert batch.texts == [["hello"], ["sum", "plot", "tell"]]
    assert wider.adjacency.shape == (1, 4, 4)


@given(given_plans=plans(max_size=5), padding=st.integers(0, 3))
def test_padding_holds_no_label_and_a_batch_of_one_is_a_row_of_the_batch(
    given_plans: list[PlanTarget], padding: int
) -> None:
    data = WorkflowDataset.from_plans(given_plans)
    examples = [data[row] for row in range(len(data))]
    size = max(len(example.texts) for example in examples) + padding
    batch = collate(examples, size)

    outside = ~batch.subtask_mask
    assert (batch.task_types[outside] == IGNORED).all()
    assert (batch.model_selections[outside] == IGNORED).all()
    assert (batch.task_types[batch.subtask_mask] >= 0).all()
    present = batch.subtask_mask[:, :, None] & batch.subtask_mask[:, None, :]
    assert not batch.adjacency[~present].any()
    assert not batch.adjacency.tril().any()
    assert batch.num_subtasks.tolist() == batch.subtask_mask.sum(1).tolist()
    for b, example in enumerate(examples):
        _assert_same_row(collate([example], size), 0, batch, b)


def _assert_same_row(one: PlanBatch, i: int, other: PlanBatch, j: int) -> None:
    for name, values in vars(one).items():
        a, b = values[i], vars(other)[name][j]
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, name


@given(given_plans=plans(max_size=4))
def test_labels_say_what_the_plans_say(given_plans: list[PlanTarget]) -> None:
    data = WorkflowDataset.from_plans(given_plans)
    types, workers = data.vocabulary.task_types, (*data.vocabulary.workers, None)

    for example, plan in zip((data[row] for row in range(len(data))), given_plans, strict=True):
        order = [plan.workflow.subtasks.index(s) for s in data.workflows[example.row].subtasks]
        assert [types[k] for k in example.task_types] == [
            plan.workflow.subtasks[i].type for i in order
        ]
        assert [workers[k] for k in example.model_selections] == [plan.workers[i] for i in order]
        links = {(order[i], order[j]) for i, j in example.adjacency.nonzero().tolist()}
        assert links == set(plan.workflow.links)


def test_workflows_and_constructor_give_the_same_data_set() -> None:
    data = dataset()
    again = WorkflowDataset.from_workflows(
        data.workflows, [plan.workers for plan in data.plans], vocabulary=data.vocabulary
    )

    assert again.workflows == data.workflows
    assert again.plans == data.plans
    assert again[0].model_selections.tolist() == data[0].model_selections.tolist()
    assert again.sources == ("", "")
    assert WorkflowDataset.from_workflows(data.workflows).vocabulary.workers == ()


def test_template_names_type_and_instruction() -> None:
    assert template_text("web_action", "Buy tea.") == "web action: Buy tea."


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"instructions": ["a"]}, DataError, "one length.*instructions 1, subtask_sequences 2"),
        ({"instructions": [" \n", "b"]}, WorkflowError, "'row 0': expected an instruction"),
        ({"task_types": [["math"], ["math"]]}, WorkflowError, "3 texts and 1 task types"),
        ({"model_selections": [["ann"], [None]]}, WorkflowError, "each of the 3 subtasks.*got 1"),
        ({"dependencies": [[(0, 3)], []]}, WorkflowError, r"link \[0, 3\] leaves"),
        ({"dependencies": [[(0, 1), (1, 0)], []]}, CyclicWorkflowError, "'row 0'.*cycle"),
        ({"dependencies": [[], [(0, 0)]]}, CyclicWorkflowError, "'row 1'.*cycle"),
        ({"max_subtasks": 2}, WorkflowError, "'row 0': expected at most 2 subtasks, got 3"),
        (
            {"vocabulary": PlanVocabulary(task_types=("draw", "maths", "write"), workers=())},
            WorkflowError,
            "'row 0': unknown task type 'math'. Did you mean 'maths'",
        ),
        (
            {"vocabulary": PlanVocabulary(task_types=WORDS.task_types, workers=("anna", "bob"))},
            UnknownWorkerError,
            "'row 0': unknown worker 'ann'. Did you mean 'anna'",
        ),
    ],
)
def test_malformed_workflow_is_refused(
    changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        dataset(**changes)


def test_workflow_without_subtasks_is_refused() -> None:
    with pytest.raises(WorkflowError, match="at least one subtask"):
        WorkflowDataset(["Do."], [[]], [[]], [[]])


def test_selections_of_other_workflows_are_refused() -> None:
    flow = Workflow(id="w", instruction="Do.", subtasks=(Subtask(name="x", type="t"),), links=())
    with pytest.raises(DataError, match="workflows 1, model_selections 2"):
        WorkflowDataset.from_workflows([flow], [[None], [None]])


def test_empty_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="got an empty data set"):
        WorkflowDataset([], [], [], [])
    with pytest.raises(DataError, match="got an empty data set"):
        dataset().take([])


def test_batch_that_cannot_be_padded_is_refused() -> None:
    with pytest.raises(DataError, match="at least one workflow in a batch"):
        collate([])
    with pytest.raises(DataError, match="at most 2 subtasks in a batch, got 3"):
        collate([dataset()[0]], max_subtasks=2)
