"""Random instances and rules for hypothesis."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from hypothesis import strategies as st

from orchestai_env.dataset import Dataset
from tests.orchestai_env.toy import Instance, Trial, toy_dataset

# Sixty-fourths of a dollar and whole milliseconds add up without rounding, so that budgets are
# met exactly, and few different values make completions fall on one instant.
COSTS = st.integers(0, 16).map(lambda k: k / 64)
LATENCIES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0])
SPREADS = st.just(1.0) | st.floats(1.0, 1.0e6)
TRIALS = st.builds(Trial, st.sampled_from([0.0, 0.25, 0.5, 1.0]), LATENCIES, COSTS)


@dataclasses.dataclass(frozen=True)
class Case:
    """A random instance with everything that an episode of it depends on."""

    instance: Instance
    concurrency: list[int]
    cost_upper: list[list[float]]
    rules: dict[str, Any]
    actions: list[int]
    padding: int

    @property
    def max_subtasks(self) -> int:
        """Padded size."""
        return len(self.instance.calls) + self.padding

    def dataset(self) -> Dataset:
        """Returns the data set of the instance alone."""
        return toy_dataset(
            [self.instance],
            concurrency=self.concurrency,
            cost_upper=self.cost_upper,
            max_subtasks=self.max_subtasks,
        )


@st.composite
def instances(draw: st.DrawFn, num_workers: int, num_types: int) -> Instance:
    """Draws a DAG of up to 6 subtasks with up to 3 recorded trials of every call."""
    size = draw(st.integers(1, 6))
    trials = st.lists(TRIALS, min_size=0, max_size=3).map(tuple)
    pairs = list(itertools.combinations(range(size), 2))
    return Instance(
        calls=tuple(tuple(draw(trials) for _ in range(num_workers)) for _ in range(size)),
        links=tuple(sorted(draw(st.sets(st.sampled_from(pairs))))) if pairs else (),
        types=tuple(draw(st.integers(0, num_types - 1)) for _ in range(size)),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draws an instance, the rules of its episode and more actions than it can take."""
    num_workers, num_types = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sixty_fourths = st.integers(1, 64).map(lambda k: k / 64)
    upper = st.lists(COSTS, min_size=num_workers, max_size=num_workers)
    return Case(
        instance=draw(instances(num_workers, num_types)),
        concurrency=[draw(st.integers(1, 2)) for _ in range(num_workers)],
        cost_upper=[draw(upper) for _ in range(num_types)],
        rules={
            "max_attempts": draw(st.integers(1, 3)),
            "max_parallel_tasks": draw(st.integers(1, 4)),
            "on_failure": draw(st.sampled_from(["abort", "continue"])),
            "cost_budget_usd": draw(st.none() | sixty_fourths),
            "deadline_ms": draw(st.none() | st.integers(1, 12).map(float)),
            "max_steps": draw(st.none() | st.integers(1, 8)),
        },
        actions=draw(st.lists(st.integers(0, num_workers - 1), min_size=18, max_size=18)),
        padding=draw(st.integers(0, 2)),
    )


def variations(num_workers: int) -> st.SearchStrategy[dict[str, Any]]:
    """Draws the rules that change from episode to episode."""
    return st.fixed_dictionaries(
        {
            "preference_spread": SPREADS,
            "price_spread": SPREADS,
            "latency_spread": SPREADS,
            "min_workers": st.none() | st.integers(1, num_workers),
            "shuffle_workers": st.booleans(),
        }
    )
