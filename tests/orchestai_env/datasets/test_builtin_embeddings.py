"""The shipped embeddings of the built-in texts: what they cover, and which row is whose."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest

from orchestai_env.datasets.builtin import (
    NUM_WORKFLOWS,
    SYNTHETIC_AUGMENTATIONS,
    builtin_dataset,
    builtin_pool,
    builtin_workflows,
)
from orchestai_env.datasets.builtin_embeddings import (
    FILE,
    builtin_embeddings,
    embedding_arrays,
    step_text,
    text_keys,
)
from orchestai_env.datasets.splits import SPLITS, Split
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import Subtask, Workflow

POOL, TASK_TYPES = builtin_pool()


def stored() -> dict[str, np.ndarray]:
    path = importlib.resources.files("orchestai_env.datasets") / FILE
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def default_workflows(split: Split) -> list[Workflow]:
    variants = SYNTHETIC_AUGMENTATIONS if split == "train" else 0
    return builtin_workflows(
        NUM_WORKFLOWS[split], 0, TASK_TYPES, split=split, synthetic_augmentations=variants
    )


def test_file_is_small() -> None:
    path = importlib.resources.files("orchestai_env.datasets") / FILE
    assert len(path.read_bytes()) < 4_000_000


def test_file_holds_every_default_text_once_and_no_other() -> None:
    arrays = stored()
    workflows = [workflow for split in SPLITS for workflow in default_workflows(split)]
    texts = {
        "instruction": {workflow.instruction for workflow in workflows},
        "subtask": {step_text(s) for workflow in workflows for s in workflow.subtasks},
    }
    assert set(arrays) == {f"{kind}_{part}" for kind in texts for part in ("keys", "embeddings")}
    for kind, expected in texts.items():
        np.testing.assert_array_equal(
            arrays[f"{kind}_keys"], np.sort(text_keys(sorted(expected))), err_msg=kind
        )


def test_embeddings_are_float16_of_unit_length() -> None:
    arrays = stored()
    for kind in ("instruction", "subtask"):
        values = arrays[f"{kind}_embeddings"]
        assert values.dtype == np.float16 and values.shape == (len(arrays[f"{kind}_keys"]), 384)
        lengths = np.linalg.norm(values.astype(np.float32), axis=1)
        np.testing.assert_allclose(lengths, 1.0, atol=2e-3)


@pytest.mark.parametrize("split", SPLITS)
def test_default_splits_have_the_row_of_every_text(split: Split) -> None:
    arrays, dataset = stored(), builtin_dataset(split)
    assert dataset.query_embeddings is not None and dataset.instruction_embeddings is not None
    assert dataset.query_embeddings.dtype == dataset.instruction_embeddings.dtype == np.float32
    assert dataset.query_embeddings.shape == arrays["subtask_embeddings"].shape
    assert dataset.instruction_embeddings.shape == arrays["instruction_embeddings"].shape

    table = dataset.workflows
    for k, workflow in enumerate(default_workflows(split)):
        key = text_keys([workflow.instruction])
        assert arrays["instruction_keys"][table.instruction[k]] == key
        size = len(workflow.subtasks)
        keys = text_keys([step_text(subtask) for subtask in workflow.subtasks])
        np.testing.assert_array_equal(arrays["subtask_keys"][table.query[k, :size]], keys)
        assert (table.query[k, size:] == -1).all()


def test_rows_hold_the_stored_values() -> None:
    dataset = builtin_dataset("validation")
    assert dataset.query_embeddings is not None and dataset.instruction_embeddings is not None
    np.testing.assert_array_equal(
        dataset.query_embeddings, stored()["subtask_embeddings"].astype(np.float32)
    )
    np.testing.assert_array_equal(
        dataset.instruction_embeddings, stored()["instruction_embeddings"].astype(np.float32)
    )


def test_matrices_are_read_once_for_all_splits() -> None:
    train, test = builtin_dataset("train"), builtin_dataset("test")
    assert train.query_embeddings is test.query_embeddings is builtin_embeddings("subtask")
    assert train.instruction_embeddings is test.instruction_embeddings


def test_first_workflows_of_a_split_have_embeddings_too() -> None:
    few, many = builtin_dataset("test", num_workflows=7), builtin_dataset("test")
    np.testing.assert_array_equal(few.workflows.query, many.workflows.query[:7])
    np.testing.assert_array_equal(few.workflows.instruction, many.workflows.instruction[:7])


def test_parts_of_the_data_keep_the_rows_of_their_texts() -> None:
    whole = builtin_dataset("validation")
    chosen = np.array([150, 3, 3])
    taken = whole.with_workflows(whole.workflows.take(chosen))
    first = whole.first(20)

    for part, rows in ((taken, chosen), (first, np.arange(20))):
        assert part.query_embeddings is whole.query_embeddings
        assert part.instruction_embeddings is whole.instruction_embeddings
        np.testing.assert_array_equal(part.workflows.query, whole.workflows.query[rows])
        np.testing.assert_array_equal(part.workflows.instruction, whole.workflows.instruction[rows])


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": 1},
        {"num_workflows": 301},
        {"max_subtasks": 5},
        {"pool": WorkerPool((POOL.workers[2],))},
    ],
    ids=["seed", "more workflows", "smaller workflows", "fewer task types"],
)
def test_other_texts_have_no_embeddings_at_all(arguments: dict[str, object]) -> None:
    dataset = builtin_dataset("train", synthetic_augmentations=0, **arguments)  # type: ignore[arg-type]
    assert dataset.query_embeddings is None and dataset.instruction_embeddings is None
    assert (dataset.workflows.query == -1).all()
    assert (dataset.workflows.instruction == -1).all()


def test_step_is_the_name_without_the_client() -> None:
    assert step_text(Subtask(name="Alder Bank: plan the move", type="planning")) == "plan the move"


def test_arrays_are_sorted_by_key() -> None:
    texts, values = ["a", "b", "c"], np.eye(3, dtype=np.float32)
    arrays = embedding_arrays("subtask", texts, values)

    assert (np.diff(arrays["subtask_keys"].astype(object)) > 0).all()
    for text, value in zip(texts, values, strict=True):
        row = np.flatnonzero(arrays["subtask_keys"] == text_keys([text]))
        np.testing.assert_array_equal(arrays["subtask_embeddings"][row], value[None])
