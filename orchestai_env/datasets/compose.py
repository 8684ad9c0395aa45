"""Composing: random shapes filled with recorded queries, as arrays and as workflows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orchestai_env.datasets.queries import Queries
from orchestai_env.datasets.shapes import ShapeTable
from orchestai_env.datasets.splits import normalised
from orchestai_env.errors import ConfigError, DataError
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable

Int32Array = npt.NDArray[np.int32]

MAX_NAME_LENGTH = 80
"""Longest subtask name taken from a prompt [characters]."""


def compose_workflows(
    rng: np.random.Generator,
    *,
    num_workflows: int,
    shapes: ShapeTable,
    query_rows: Int32Array,
    task_type_of_query: Int32Array,
    task_types: tuple[str, ...],
    max_subtasks: int,
) -> WorkflowTable:
    """Composes workflows at random: a shape each, and a recorded query for every subtask.

    Shapes are drawn in proportion to their counts. A subtask's task type is uniform among the
    types that `query_rows` has, its query uniform among the rows of that type. The draw does not
    depend on `max_subtasks`.

    Args:
        rng: source of randomness.
        num_workflows: K.
        shapes: shapes to draw from.
        query_rows: int32 (M,); queries to draw from; one that comes twice is twice as likely.
        task_type_of_query: int32 (Q,); index into `task_types` of every query.
        task_types: vocabulary.
        max_subtasks: N, the padded size.
    Raises:
        DataError: there is no query to draw from.
        ConfigError: a shape is larger than `max_subtasks`.
    """
    if not len(query_rows):
        raise DataError("expected at least one query to compose workflows of, got none")
    if shapes.max_subtasks > max_subtasks:
        raise ConfigError(
            f"max_subtasks: the largest DAG shape has {shapes.max_subtasks} subtasks, got a limit "
            f"of {max_subtasks}; raise it"
        )
    size = (num_workflows, shapes.max_subtasks)
    shape = rng.choice(len(shapes), size=num_workflows, p=shapes.count / shapes.count.sum())
    rows = query_rows[np.argsort(task_type_of_query[query_rows], kind="stable")]
    present, start, count = np.unique(
        task_type_of_query[rows], return_index=True, return_counts=True
    )
    kind = rng.integers(len(present), size=size)
    drawn = rows[start[kind] + rng.integers(count[kind])]
    padded = np.arange(shapes.max_subtasks) >= shapes.num_subtasks[shape][:, None]
    query = np.where(padded, -1, drawn)
    task_type = np.where(padded, -1, present[kind])
    num_parents = shapes.num_parents[shape]
    num_children = shapes.num_children[shape]
    return WorkflowTable(
        task_types=task_types,
        num_subtasks=shapes.num_subtasks[shape],
        task_type=_padded(task_type, max_subtasks, -1),
        query=_padded(query, max_subtasks, -1),
        instruction=np.full(num_workflows, -1, np.int32),
        num_parents=_padded(num_parents, max_subtasks, 0),
        parents=_padded(_trimmed(shapes.parents, shape, num_parents), max_subtasks, -1),
        num_children=_padded(num_children, max_subtasks, 0),
        children=_padded(_trimmed(shapes.children, shape, num_children), max_subtasks, -1),
    )


def _trimmed(lists: Int32Array, shape: npt.NDArray[np.int64], count: Int32Array) -> Int32Array:
    """Picks the lists of the drawn shapes, no longer than the longest of them (>= 1)."""
    return lists[:, :, : max(1, int(count.max(initial=0)))][shape]


def _padded(values: npt.NDArray[np.integer], max_subtasks: int, padding: int) -> Int32Array:
    """Widens the second dimension to max_subtasks."""
    shape = (values.shape[0], max_subtasks, *values.shape[2:])
    result = np.full(shape, padding, np.int32)
    result[:, : values.shape[1]] = values
    return result


def to_workflows(table: WorkflowTable, queries: Queries, *, id_prefix: str) -> list[Workflow]:
    """Writes composed workflows out: texts, types and query ids instead of indexes.

    Args:
        table: workflows whose `query` holds rows of `queries`.
        queries: the recorded queries.
        id_prefix: the workflows are called prefix-000000, prefix-000001 and so on.
    """
    names = [_head(prompt) for prompt in queries.prompts]
    workflows = []
    for k, size in enumerate(table.num_subtasks.tolist()):
        subtasks = tuple(
            Subtask(name=names[row], type=table.task_types[kind], query_id=queries.ids[row])
            for row, kind in zip(
                table.query[k, :size].tolist(), table.task_type[k, :size].tolist(), strict=True
            )
        )
        links = table.links(k)
        workflows.append(
            Workflow(
                id=f"{id_prefix}-{k:06d}",
                instruction=_instruction(subtasks, links),
                subtasks=subtasks,
                links=links,
            )
        )
    return workflows


def _head(prompt: str) -> str:
    """Returns the beginning of a prompt as one short line."""
    line = normalised(prompt)
    return line if len(line) <= MAX_NAME_LENGTH else line[: MAX_NAME_LENGTH - 1].rstrip() + "…"


def _instruction(subtasks: tuple[Subtask, ...], links: tuple[tuple[int, int], ...]) -> str:
    """Words a workflow, such as "Carry out these steps: 1. algebra; 2. geometry (needs 1)."."""
    steps = []
    for j, subtask in enumerate(subtasks):
        parents = [str(i + 1) for i, child in links if child == j]
        needs = f" (needs {', '.join(parents)})" if parents else ""
        steps.append(f"{j + 1}. {subtask.type.replace('_', ' ')}{needs}")
    return f"Carry out these steps: {'; '.join(steps)}."
