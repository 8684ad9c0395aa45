"""WorkflowTable: many workflows as arrays, the form that the transition reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from orchestai_env.errors import WorkflowError, unknown_name
from orchestai_env.workflow import Workflow, topological_order

Int32Array = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkflowTable:
    """K workflows of at most N subtasks, in topological order; padding holds -1 (counts hold 0)."""

    task_types: tuple[str, ...]
    """Vocabulary of task types; `task_type` holds indexes into it."""
    num_subtasks: Int32Array
    """int32 (K,), 1..N."""
    task_type: Int32Array
    """int32 (K, N), 0..T-1."""
    query: Int32Array
    """int32 (K, N); row of the recorded outcomes and of `Dataset.query_embeddings`, -1 = none."""
    instruction: Int32Array
    """int32 (K,); row of `Dataset.instruction_embeddings`, -1 = none."""
    num_parents: Int32Array
    """int32 (K, N)."""
    parents: Int32Array
    """int32 (K, N, P); indexes < the subtask's own, P the largest number of parents (>= 1)."""
    num_children: Int32Array
    """int32 (K, N)."""
    children: Int32Array
    """int32 (K, N, C); indexes > the subtask's own, C the largest number of children (>= 1)."""
    instruction_texts: tuple[str, ...] | None = None
    """K instructions, for planners; None where outcomes are recorded."""

    def __len__(self) -> int:
        """Returns the number of workflows."""
        return len(self.num_subtasks)

    @property
    def max_subtasks(self) -> int:
        """N, the padded number of subtasks."""
        return int(self.task_type.shape[1])

    @classmethod
    def from_links(
        cls,
        *,
        task_types: tuple[str, ...],
        num_subtasks: Int32Array,
        task_type: Int32Array,
        query: Int32Array,
        links: Int32Array,
        link_owner: Int32Array,
        instruction: Int32Array | None = None,
    ) -> Self:
        """Builds the table from a flat list of links.

        Args:
            task_types: vocabulary.
            num_subtasks: int32 (K,).
            task_type: int32 (K, N), -1 where padded.
            query: int32 (K, N), -1 where padded or without recorded outcome and embedding.
            links: int32 (L, 2); [i, j] with i < j: subtask j needs subtask i; none twice.
            link_owner: int32 (L,); the workflow of each link, ascending.
            instruction: int32 (K,); None = -1 everywhere.
        Raises:
            WorkflowError: a link does not point forward within its workflow.
        """
        size = num_subtasks[link_owner] if len(links) else np.zeros(0, np.int32)
        wrong = (links[:, 0] >= links[:, 1]) | (links[:, 0] < 0) | (links[:, 1] >= size)
        if wrong.any():
            k = int(link_owner[int(np.argmax(wrong))])
            raise WorkflowError(
                f"workflow {k}: links must point forward within 0..{num_subtasks[k] - 1}"
            )
        shape = task_type.shape
        num_parents, parents = _adjacency_lists(shape, link_owner, links[:, 1], links[:, 0])
        num_children, children = _adjacency_lists(shape, link_owner, links[:, 0], links[:, 1])
        if instruction is None:
            instruction = np.full(len(num_subtasks), -1, np.int32)
        return cls(
            task_types=task_types,
            num_subtasks=num_subtasks,
            task_type=task_type,
            query=query,
            instruction=instruction,
            num_parents=num_parents,
            parents=parents,
            num_children=num_children,
            children=children,
        )

    @classmethod
    def from_workflows(
        cls,
        workflows: Sequence[Workflow],
        *,
        task_types: Sequence[str],
        max_subtasks: int,
        query_index: Mapping[str, int] | None = None,
    ) -> Self:
        """Builds the table from workflows, each sorted topologically.

        Args:
            workflows: at least one.
            task_types: vocabulary.
            max_subtasks: N.
            query_index: query id -> row of the recorded outcomes; None where they are simulated.
        Raises:
            WorkflowError: no workflow, one that is cyclic or too long, an unknown task type, or a
                query that has no recorded outcome.
        """
        if not workflows:
            raise WorkflowError("expected at least one workflow, got none")
        shape = (len(workflows), max_subtasks)
        task_type = np.full(shape, -1, np.int32)
        query = np.full(shape, -1, np.int32)
        links: list[tuple[int, int]] = []
        owner: list[int] = []
        known = {name: index for index, name in enumerate(task_types)}
        for k, given in enumerate(workflows):
            workflow = given.topologically_sorted()
            if len(workflow.subtasks) > max_subtasks:
                raise WorkflowError(
                    f"workflow {workflow.id!r}: {len(workflow.subtasks)} subtasks, but "
                    f"max_subtasks is {max_subtasks}; raise it or split the workflow"
                )
            for i, subtask in enumerate(workflow.subtasks):
                place = f"workflow {workflow.id!r}, subtask {i}"
                if subtask.type not in known:
                    raise WorkflowError(
                        f"{place}: {unknown_name('task type', subtask.type, known)}"
                    )
                task_type[k, i] = known[subtask.type]
                if query_index is not None:
                    query[k, i] = _query_row(subtask.query_id, query_index, place)
            links.extend(workflow.links)
            owner.extend([k] * len(workflow.links))
        table = cls.from_links(
            task_types=tuple(task_types),
            num_subtasks=np.array([len(w.subtasks) for w in workflows], np.int32),
            task_type=task_type,
            query=query,
            links=np.array(links, np.int32).reshape(-1, 2),
            link_owner=np.array(owner, np.int32),
        )
        if query_index is not None:  # a planner cannot plan what has to replay queries
            return table
        texts = tuple(workflow.instruction for workflow in workflows)
        return dataclasses.replace(table, instruction_texts=texts)

    def take(self, workflows: npt.NDArray[np.int64]) -> Self:
        """Returns the table of these workflows, by index, in this order."""
        parts = {
            field.name: getattr(self, field.name)[workflows]
            for field in dataclasses.fields(self)
            if field.name not in ("task_types", "instruction_texts")
        }
        if self.instruction_texts is not None:
            parts["instruction_texts"] = tuple(self.instruction_texts[k] for k in workflows)
        return dataclasses.replace(self, **parts)

    def links(self, k: int) -> tuple[tuple[int, int], ...]:
        """Returns the links (i, j) of workflow k, sorted."""
        return tuple(
            (i, int(j))
            for i in range(int(self.num_subtasks[k]))
            for j in self.children[k, i, : self.num_children[k, i]]
        )


def _query_row(query_id: str | None, query_index: Mapping[str, int], place: str) -> int:
    if query_id is None or query_id not in query_index:
        raise WorkflowError(
            f"{place}: no recorded outcome for query {query_id!r}; import the outcomes of its "
            "source first"
        )
    return query_index[query_id]


def _adjacency_lists(
    shape: tuple[int, ...], owner: Int32Array, key: Int32Array, value: Int32Array
) -> tuple[Int32Array, Int32Array]:
    """Groups values by (owner, key): counts int32 (K, N) and lists int32 (K, N, most)."""
    flat = owner.astype(np.int64) * shape[1] + key
    order = np.lexsort((value, flat))
    count = np.bincount(flat, minlength=shape[0] * shape[1])
    lists = np.full((shape[0] * shape[1], max(1, int(count.max(initial=0)))), -1, np.int32)
    place = np.arange(len(flat)) - np.repeat(np.cumsum(count) - count, count)
    lists[flat[order], place] = value[order]
    return count.astype(np.int32).reshape(shape), lists.reshape(*shape, -1)


def sorted_links(
    num_subtasks: int, links: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Renumbers the subtasks of a bare DAG in topological order and returns its links, sorted.

    Raises:
        CyclicWorkflowError: the links form a cycle.
    """
    rank = {old: new for new, old in enumerate(topological_order(num_subtasks, links))}
    return tuple(sorted({(rank[i], rank[j]) for i, j in links}))
