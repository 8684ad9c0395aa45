"""Settings of an import of recorded outcomes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pydantic

Count = Annotated[int, pydantic.Field(ge=1)]


class WorkflowCounts(pydantic.BaseModel):
    """How many workflows are composed per split."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    train: Count = 20_000
    """Workflows made of training queries."""
    validation: Count = 2_000
    """Workflows made of validation queries."""
    test: Count = 2_000
    """Workflows made of test queries."""


class RecordedSourceSettings(pydantic.BaseModel):
    """Which recorded outcomes are read, and how workflows are composed of them."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, pydantic.Field(pattern=r"^[\w.-]*\w[\w.-]*$")]
    """Folder of queries.csv.gz and outcomes.csv.gz inside the data folder, such as zeroeval."""
    task_types: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    """Task types of the source to use; their order is that of the vocabulary."""
    success_threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5
    """A call succeeds when its score is at or above this."""
    cost: Literal["recorded", "none"] = "recorded"
    """What a call costs: `recorded` masks one without a recorded cost; `none`, for a source that
    records none, makes every call free and says so."""
    latency: Literal["recorded", "derived", "none"] = "recorded"
    """What becomes of a call without a recorded latency: `recorded` masks it, `derived` takes
    first_token_ms + 1000 * output_tokens / tokens_per_s of its worker; `none`, for a source that
    records none, lets every call end at once and says so."""
    shapes: Literal["planning", "random"] = "planning"
    """Where DAG shapes come from: recorded plans (the folder planning/ inside the data folder), or
    a seeded generator."""
    min_subtasks: Count = 2
    """Smallest workflow."""
    max_subtasks: Count = 6
    """Largest workflow."""
    num_workflows: WorkflowCounts = WorkflowCounts()
    """Workflows composed per split."""
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    """Seed of shapes and composing; the split depends on the texts alone."""

    @pydantic.field_validator("task_types")
    @classmethod
    def _types_are_unique(cls, task_types: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in task_types if task_types.count(name) > 1})
        if twice:
            raise ValueError(f"task types must be unique, got twice: {', '.join(twice)}")
        return task_types

    @pydantic.model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.min_subtasks > self.max_subtasks:
            raise ValueError(
                f"min_subtasks must not exceed max_subtasks, got {self.min_subtasks} and "
                f"{self.max_subtasks}"
            )
        return self
