"""Dataset: parts of one."""

from __future__ import annotations

import numpy as np
import pytest

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
