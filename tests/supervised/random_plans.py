"""Random plans for hypothesis."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from orchestai_env.workflow import Subtask, Workflow
from supervised.plans.dataset import PlanTarget

TYPES = ("draw", "math", "write")
WORKERS = ("ann", "bob")


@st.composite
def _plan(draw: st.DrawFn, number: int) -> PlanTarget:
    """Draws a DAG of up to 6 subtasks, in any order, with distinct texts."""
    size = draw(st.integers(1, 6))
    order = draw(st.permutations(range(size)))
    pairs = [(order[i], order[j]) for i, j in itertools.combinations(range(size), 2)]
    types = draw(st.lists(st.sampled_from(TYPES), min_size=size, max_size=size))
    workers = st.sampled_from((*WORKERS, None))
    return PlanTarget(
        workflow=Workflow(
            id=f"w{number}",
            instruction=draw(st.text(min_size=1).filter(str.strip)),
            subtasks=tuple(Subtask(name=f"step {i}", type=word) for i, word in enumerate(types)),
            links=tuple(sorted(draw(st.sets(st.sampled_from(pairs))))) if pairs else (),
        ),
        workers=tuple(draw(st.lists(workers, min_size=size, max_size=size))),
    )


@st.composite
def plans(draw: st.DrawFn, max_size: int) -> list[PlanTarget]:
    """Draws 1 to max_size plans with ids of their own."""
    return [draw(_plan(number)) for number in range(draw(st.integers(1, max_size)))]
