"""Dataset: parts of one."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from orchestai_env.errors import DataError
from tests.orchestai_env.toy import ONE_SECOND, Instance, chain, toy_dataset

INSTANCES = [chain(*((ONE_SECOND,),) * size) for size in (1, 2, 3)]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (9, [1, 2, 3])]
)
def test_first_keeps_the_first_workflows(count: int, sizes: list[int]) -> None:
    data = toy_dataset(INSTANCES)
    part = data.first(count)

    assert part.workflows.num_subtasks.tolist() == sizes
    assert part.outcomes is data.outcomes
    assert part.statistics is data.statistics


def test_with_workflows_replaces_them_alone() -> None:
    data = toy_dataset([*INSTANCES, Instance(calls=((ONE_SECOND,),))])
    part = data.with_workflows(data.workflows.take(np.array([3, 1])))

    assert len(part.workflows) == 2
    assert part.task_types == data.task_types
    assert part.pool is data.pool


def test_parts_keep_embeddings_and_the_rows_of_their_instructions() -> None:
    data = toy_dataset(INSTANCES)
    table = dataclasses.replace(data.workflows, instruction=np.array([2, 0, 1], np.int32))
    vectors = np.eye(3, dtype=np.float32)
    data = dataclasses.replace(data, workflows=table, instruction_embeddings=vectors)
    part = data.with_workflows(data.workflows.take(np.array([2, 0])))

    assert part.instruction_embeddings is vectors
    assert part.workflows.instruction.tolist() == [1, 2]
    assert data.first(2).workflows.instruction.tolist() == [2, 0]


@pytest.mark.parametrize("rows", [[0, -1, 1], [0, 1, 3]])
def test_instruction_without_a_row_is_refused(rows: list[int]) -> None:
    data = toy_dataset(INSTANCES)
    table = dataclasses.replace(data.workflows, instruction=np.array(rows, np.int32))
    message = (
        f"workflows name the rows {min(rows)}..{max(rows)} of instruction_embeddings, which has "
        "0..2; give every workflow a row, or set instruction_embeddings=None"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        dataclasses.replace(
            data, workflows=table, instruction_embeddings=np.zeros((3, 2), np.float32)
        )


def test_subtask_without_a_row_is_refused_and_padding_is_not() -> None:
    data = toy_dataset(INSTANCES)
    count = int(data.workflows.query.max()) + 1
    assert (data.workflows.query == -1).any()

    whole = dataclasses.replace(data, query_embeddings=np.zeros((count, 2), np.float32))
    assert whole.query_embeddings is not None
    with pytest.raises(DataError, match="of query_embeddings, which has"):
        dataclasses.replace(data, query_embeddings=np.zeros((count - 1, 2), np.float32))
