"""planned_dataset: a data set whose workflows are a planner's instead of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, PlanningError, shown
from orchestai_env.observation import KEYS
from orchestai_env.outcomes.tables import RECORDED
from orchestai_env.planning.planner import Plan, Planner, checked_plans
from orchestai_env.workflow_table import WorkflowTable

Float32Array = npt.NDArray[np.float32]


def planned_dataset(
    dataset: Dataset, planner: Planner, instructions: Sequence[str] | None = None
) -> tuple[Dataset, tuple[Plan, ...]]:
    """Plans instructions and returns the data set with the plans as its workflows.

    A simulated outcome depends on the task type, the worker and hashed random numbers, so planned
    subtasks have one as annotated ones do. Success predictions belong to annotated subtasks and are
    left out. Embeddings are those of the plans, where all plans have them.

    Args:
        dataset: of simulated or live outcomes; its own workflows stay as they are.
        planner: asked once, with all instructions.
        instructions: texts to plan; None = those of the data set's workflows, in their order.
    Returns:
        The planned data set, of the same padded size, and the plan of each of its workflows.
    Raises:
        ConfigError: no planner, recorded outcomes, no instructions, or task types that the data
            set does not have.
        PlanningError: the planner cannot plan, or a plan breaks what `Plan` promises.
    """
    texts = _checked(dataset, planner, instructions)
    plans = checked_plans(
        planner,
        texts,
        task_types=dataset.task_types,
        max_subtasks=dataset.workflows.max_subtasks,
    )
    table = WorkflowTable.from_workflows(
        [plan.workflow for plan in plans],
        task_types=dataset.task_types,
        max_subtasks=dataset.workflows.max_subtasks,
    )
    planned = dataclasses.replace(
        dataset,
        workflows=table,
        statistics=dataclasses.replace(dataset.statistics, predicted_success=None),
        query_embeddings=None,
        instruction_embeddings=None,
    )
    return _with_embeddings(planned, plans), plans


def check_embeddings(planned: Dataset, planner: Planner, observation: object) -> None:
    """Checks that planned workflows have the embeddings that an observation is to show.

    Args:
        planned: made by `planned_dataset`.
        planner: it made it.
        observation: keys to show; what is no sequence of keys is not looked at.
    Raises:
        ConfigError: a plan lacks an embedding that is asked for.
    """
    absent = {
        key
        for key, stored in (
            ("instruction", planned.instruction_embeddings),
            ("subtask", planned.query_embeddings),
        )
        if stored is None
    }
    for key in observation if isinstance(observation, (list, tuple)) else ():
        if isinstance(key, str) and key in absent:
            raise ConfigError(
                f"observation key {key!r}: planner {planner.name!r} has plans without this "
                f"embedding; choose among {', '.join(k for k in KEYS if k not in absent)}"
            )


def check_same_embeddings(
    planned: Dataset, planner: Planner, keys: Collection[str], laid_out: Dataset
) -> None:
    """Checks that an observation can show planned workflows that it was not laid out for.

    Args:
        planned: made by `planned_dataset`.
        planner: it made it.
        keys: what the observation shows.
        laid_out: the data set that the observation was laid out for.
    Raises:
        PlanningError: an embedding is missing or of another size.
    """
    for key, field in (("instruction", "instruction_embeddings"), ("subtask", "query_embeddings")):
        got, expected = getattr(planned, field), getattr(laid_out, field)
        if key in keys and (got is None or got.shape[1] != expected.shape[1]):
            size = "none" if got is None else f"one of {got.shape[1]} numbers"
            raise PlanningError(
                f"planner {planner.name!r}: observation key {key!r} shows an embedding of "
                f"{expected.shape[1]} numbers, and the plan has {size}; leave the key out of "
                "observation"
            )


def _checked(
    dataset: Dataset, planner: Planner, instructions: Sequence[str] | None
) -> Sequence[str]:
    """Checks what can be checked before planning; returns the texts to plan."""
    if not isinstance(planner, Planner):
        raise ConfigError(
            "planner: expected an object with name, task_types and plan(instructions), got "
            f"{shown(planner)}"
        )
    name = f"data set {dataset.name!r}"
    if dataset.outcomes.kind[0] == RECORDED:
        raise ConfigError(
            f"planner: {name} has recorded outcomes, which exist for its own subtasks only; use "
            "one with simulated outcomes, such as dataset=None"
        )
    strangers = [kind for kind in planner.task_types if kind not in dataset.task_types]
    if strangers:
        raise ConfigError(
            f"planner {planner.name!r}: expected the task types of {name} "
            f"({', '.join(dataset.task_types)}), got {', '.join(strangers)} as well; plan with "
            "its vocabulary"
        )
    texts = dataset.workflows.instruction_texts if instructions is None else instructions
    if not texts:
        raise ConfigError(
            f"planner: {name} has no instructions to plan; make its table with "
            "WorkflowTable.from_workflows, or set instruction_texts of it"
        )
    return texts


def _with_embeddings(dataset: Dataset, plans: Sequence[Plan]) -> Dataset:
    """Attaches the embeddings of the plans, each kind where all plans have it."""
    table = dataset.workflows
    wholes = [plan.instruction_embedding for plan in plans]
    parts = [plan.subtask_embeddings for plan in plans]
    instruction_embeddings = _stacked(
        [None if whole is None else whole[None] for whole in wholes], plans
    )
    query_embeddings = _stacked(parts, plans)
    if instruction_embeddings is not None:
        rows = np.arange(len(plans), dtype=np.int32)
        table = dataclasses.replace(table, instruction=rows)
    if query_embeddings is not None:
        query = np.full(table.query.shape, -1, np.int32)
        is_subtask = np.arange(table.max_subtasks) < table.num_subtasks[:, None]
        query[is_subtask] = np.arange(len(query_embeddings))
        table = dataclasses.replace(table, query=query)
    return dataclasses.replace(
        dataset,
        workflows=table,
        instruction_embeddings=instruction_embeddings,
        query_embeddings=query_embeddings,
    )


def _stacked(tables: Sequence[Float32Array | None], plans: Sequence[Plan]) -> Float32Array | None:
    """Returns the rows of all tables; None if one is missing.

    Raises:
        PlanningError: two tables differ in width.
    """
    found = [table for table in tables if table is not None]
    if len(found) < len(tables):
        return None
    widths = [table.shape[1] for table in found]
    for plan, width in zip(plans, widths, strict=True):
        if width != widths[0]:
            raise PlanningError(
                f"planner {plan.planner!r}, instruction {shown(plan.workflow.instruction)}: "
                f"expected embeddings of {widths[0]} numbers, as of planner {plans[0].planner!r}, "
                f"got {width}"
            )
    return np.concatenate(found)
