"""Measures how the cost of a step grows with the subtasks, and what memory an episode takes.

Run it with `make bench` or `python -m benchmarks.scaling`; `--picture docs/images/scaling.png`
draws the first part. Workflows are chains of the built-in workers, padded to the longest; a subtask
is tried until it succeeds, so that every chain is played to its end. Compare shapes, not times.

Times are those on a core, many short ones in turn. Work beside only adds to them, so the line is
fitted twice: through the medians, and through the smallest, which say more of the code and less of
the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import gymnasium as gym
import numpy as np

from benchmarks.timing import (
    calls_in,
    print_machine,
    print_table,
    resident_mib,
    spread,
)
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset, builtin_pool
from orchestai_env.outcomes.simulated import simulated_tables
from orchestai_env.vector_env import OrchestAIVectorEnv
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable

ROUNDS = 101
SECONDS = 0.03
SIZES = (2, 4, 8, 12, 16)
"""Subtasks of the chains."""
NUM_ENVS = 1024
MEMORY_STEPS = 10_000_000
MEMORY_PARTS = 5  # resident memory is looked at so often on the way
_NUM_WORKFLOWS = 200  # of every size
_MIB = 1024**2


@dataclasses.dataclass(frozen=True)
class Line:
    """A least squares line through costs."""

    intercept: float
    """[us]."""
    slope: float
    """[us per subtask]."""
    explained: float
    """R^2."""

    @classmethod
    def through(cls, sizes: Sequence[int], costs_us: Sequence[float]) -> Line:
        """Fits the costs of these sizes."""
        x, y = np.array(sizes, np.float64), np.array(costs_us)
        slope, intercept = np.polyfit(x, y, 1)
        left = y - (intercept + slope * x)
        return cls(
            float(intercept), float(slope), float(1.0 - left @ left / ((y - y.mean()) ** 2).sum())
        )

    def __str__(self) -> str:
        return f"{self.intercept:.3f} + {self.slope:.4f} per subtask, R² = {self.explained:.4f}"


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a step costs with chains of every size."""

    us: dict[int, list[float]]
    """Subtasks -> time on a core of a step of one row, every round [us]."""

    @property
    def medians(self) -> list[float]:
        """Median of every size [us]."""
        return [statistics.median(times) for times in self.us.values()]

    @property
    def minima(self) -> list[float]:
        """Smallest of every size [us]."""
        return [min(times) for times in self.us.values()]

    @property
    def lines(self) -> dict[str, Line]:
        """What was fitted -> its line."""
        sizes = list(self.us)
        return {
            "median": Line.through(sizes, self.medians),
            "smallest": Line.through(sizes, self.minima),
        }


def chains(size: int, max_subtasks: int) -> Dataset:
    """Builds a data set of chains of `size` subtasks with random task types, built-in workers."""
    pool, task_types = builtin_pool()
    rng = np.random.default_rng(size)
    workflows = [
        Workflow(
            id=f"chain-{size}-{k}",
            instruction="",
            subtasks=tuple(Subtask(name="", type=kind) for kind in rng.choice(task_types, size)),
            links=tuple(itertools.pairwise(range(size))),
        )
        for k in range(_NUM_WORKFLOWS)
    ]
    table = WorkflowTable.from_workflows(
        workflows, task_types=task_types, max_subtasks=max_subtasks
    )
    outcomes, statistics_ = simulated_tables(pool, task_types)
    return Dataset(
        name="chains",
        pool=pool,
        workflows=table,
        outcomes=outcomes,
        statistics=statistics_,
        latency_label="simulated",
    )


class Stepper:
    """A batched environment under random actions."""

    def __init__(self, env: OrchestAIVectorEnv) -> None:
        """Resets the environment."""
        self.env = env
        rng = np.random.default_rng(0)
        drawn = rng.integers(int(env.single_action_space.n), size=(64, env.num_envs))
        self._actions = itertools.cycle(drawn)
        env.reset(seed=0)

    def step(self, count: int) -> None:
        """Takes so many steps."""
        for actions in itertools.islice(self._actions, count):
            self.env.step(actions)


def measure_costs(rounds: int, seconds: float) -> Costs:
    """Measures the chains of all sizes in turn."""
    longest = max(SIZES)
    steppers = {
        size: Stepper(OrchestAIVectorEnv(NUM_ENVS, chains(size, longest), max_attempts=1000))
        for size in SIZES
    }
    counts = {size: calls_in(stepper.step, seconds) for size, stepper in steppers.items()}
    us: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size, stepper in steppers.items():
            begun = time.thread_time()
            stepper.step(counts[size])
            us[size].append(1e6 * (time.thread_time() - begun) / (counts[size] * NUM_ENVS))
    return Costs(us)


def print_costs(costs: Costs) -> None:
    """Prints the table of costs and the lines."""
    rows = [(str(size), *spread(times, 3)) for size, times in costs.us.items()]
    print_table(("subtasks", "us per step", "min", "max"), rows, texts=0)
    for name, line in costs.lines.items():
        print(f"line through the {name} times [us]: {line}")
    print(f"one row of a batch of {NUM_ENVS:,}, one thread, without embeddings")


def print_memory(steps: int) -> None:
    """Prints the bytes of an episode and the resident memory over many steps."""
    dataset = builtin_dataset()
    Stepper(OrchestAIVectorEnv(1, dataset)).step(10)  # loads the compiled code
    before = resident_mib()
    stepper = Stepper(OrchestAIVectorEnv(NUM_ENVS, dataset))
    stepper.step(10)
    resident = [resident_mib()]
    rows = [(name, f"{size / NUM_ENVS:,.0f}") for name, size in _bytes_of(stepper.env).items()]
    measured = (resident[0] - before) * _MIB / NUM_ENVS
    rows.append(("growth of the process, measured", f"{measured:,.0f}"))
    print_table(("memory of an episode, built-in data", "bytes"), rows)

    taken = [0]
    for part in range(1, MEMORY_PARTS + 1):
        calls = -(-(steps * part // MEMORY_PARTS - taken[-1]) // NUM_ENVS)
        stepper.step(calls)
        taken.append(taken[-1] + calls * NUM_ENVS)
        resident.append(resident_mib())
    shown = [(f"{n:,}", f"{mib:.1f}") for n, mib in zip(taken, resident, strict=True)]
    print_table(("steps taken", "resident memory of the process [MiB]"), shown, texts=0)


def _bytes_of(env: OrchestAIVectorEnv) -> dict[str, int]:
    """Returns the bytes that a batch takes, by purpose."""
    observation = sum(array.nbytes for array in env.episodes.out)
    bounds = sum(
        array.nbytes
        for box in cast(gym.spaces.Dict, env.observation_space).values()
        if isinstance(box, gym.spaces.Box)
        for array in (box.low, box.high, box.bounded_below, box.bounded_above)
    )
    parts = {
        "state": sum(array.nbytes for array in env.episodes.state),
        "observation": observation,
        "last observation, once it ended": observation,
        "bounds in Gymnasium's space of the batch": bounds,
    }
    return parts | {"sum": sum(parts.values()), "each further observation held": observation}


def draw(costs: Costs, path: Path) -> None:
    """Draws the costs and their lines into a PNG file."""
    from matplotlib import pyplot as plt

    sizes = np.array(list(costs.us))
    ends = np.array([0, sizes.max() + 1])
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    styles = {"median": ("o", "-", "#0072B2"), "smallest": ("s", "--", "#D55E00")}
    points = {"median": costs.medians, "smallest": costs.minima}
    for name, line in costs.lines.items():
        marker, dashes, color = styles[name]
        axes.plot(sizes, points[name], marker, color=color, label=f"{name} time")
        label = f"{line.intercept:.2f} + {line.slope:.3f} per subtask, R² = {line.explained:.4f}"
        axes.plot(ends, line.intercept + line.slope * ends, dashes, color=color, label=label)
    axes.set(
        xlabel="subtasks of the workflow (a chain)",
        ylabel="CPU time of a step of one episode [µs]",
        xlim=ends,
        xticks=sizes,
        title=f"Cost of a step: batch of {NUM_ENVS:,}, one thread, no embeddings",
    )
    axes.set_ylim(bottom=0)
    axes.legend(loc="best", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each size")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a measurement")
    parser.add_argument("--steps", type=int, default=MEMORY_STEPS, help="steps of the memory part")
    parser.add_argument("--picture", type=Path, help="PNG file to draw the costs into")
    args = parser.parse_args(argv)
    print_machine()
    print_memory(args.steps)
    costs = measure_costs(args.rounds, args.seconds)
    print_costs(costs)
    if args.picture is not None:
        draw(costs, args.picture)


if __name__ == "__main__":
    main()
