"""The built-in data set: real workers, made-up requests, simulated outcomes; no file to fetch."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pydantic

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin_phrases import clients, openings, phrases
from orchestai_env.datasets.shapes import Links, random_shapes
from orchestai_env.datasets.splits import SPLITS, Split
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.settings import load_yaml
from orchestai_env.workers import WorkerPool
from orchestai_env.workflow import Subtask, Workflow
from orchestai_env.workflow_table import WorkflowTable

NUM_WORKFLOWS: dict[Split, int] = {"train": 300, "validation": 200, "test": 500}
"""Workflows per split by default, variants not counted."""

SYNTHETIC_AUGMENTATIONS = 1000
"""Variants that the training split has by default; the others have none."""

MIN_SUBTASKS, MAX_SUBTASKS = 2, 6
"""Sizes of the built-in workflows."""

Plan = tuple[tuple[str, ...], Links]
"""Task type of every subtask, and the links between them; a workflow without words."""


class _BuiltinPool(pydantic.BaseModel):
    """The content of builtin_workers.yaml."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    task_types: tuple[str, ...]
    workers: WorkerPool


@functools.cache
def builtin_pool() -> tuple[WorkerPool, tuple[str, ...]]:
    """Returns the built-in workers and the vocabulary of task types that they serve.

    Source: builtin_workers.yaml, which names the origin of every figure.
    """
    resource = importlib.resources.files(__package__) / "builtin_workers.yaml"
    with importlib.resources.as_file(resource) as path:
        data = load_yaml(path, _BuiltinPool)
    return data.workers, data.task_types


def builtin_workflows(
    num_workflows: int,
    seed: int,
    task_types: Sequence[str],
    *,
    split: str = "train",
    synthetic_augmentations: int = 0,
    max_subtasks: int = MAX_SUBTASKS,
) -> list[Workflow]:
    """Makes up workflows whose instructions read like requests, each of them different.

    Shapes are evenly mixed over chain, fork, join, diamond, independent and random DAGs, sizes
    are uniform from 2 to 6, and task types come equally often (to within one occurrence). Every
    request is made by a client, and a client belongs to one split, so no instruction and no
    subtask text is in two splits, whatever the seeds.

    Args:
        num_workflows: base workflows, >= 1; a split's first ones do not depend on the variants.
        seed: seed of everything drawn, >= 0; each split has its own stream.
        task_types: vocabulary; a type without built-in phrases is named in a general one.
        split: train, validation or test.
        synthetic_augmentations: variants that follow the base workflows, >= 0. Variant i has the
            DAG of base workflow i modulo `num_workflows` and other words; odd passes over the
            base workflows keep its task types, even passes draw them anew.
        max_subtasks: largest size; below 6 it makes the workflows smaller.

    Returns:
        num_workflows + synthetic_augmentations workflows, subtasks in topological order.

    Raises:
        ConfigError: the split is unknown, there is no task type, or a number is out of range.
    """
    known = _known_split(split)
    if not task_types:
        raise ConfigError("task_types: expected at least one task type, got none")
    if num_workflows < 1 or synthetic_augmentations < 0 or seed < 0:
        raise ConfigError(
            "expected num_workflows >= 1, synthetic_augmentations >= 0 and seed >= 0, got "
            f"{num_workflows}, {synthetic_augmentations} and {seed}"
        )
    base_rng, variant_rng = np.random.default_rng([seed, SPLITS.index(known)]).spawn(2)
    largest = min(MAX_SUBTASKS, max_subtasks)
    base = _plans(base_rng, num_workflows, task_types, largest)
    variants = _variants(variant_rng, base, synthetic_augmentations, task_types)
    used: set[str] = set()
    return [
        *_worded(base_rng, base, known, f"builtin-{known}", used),
        *_worded(variant_rng, variants, known, f"builtin-{known}-variant", used),
    ]


def _known_split(split: str) -> Split:
    for known in SPLITS:
        if split == known:
            return known
    raise ConfigError(unknown_name("split", split, SPLITS))


def _plans(
    rng: np.random.Generator, num_workflows: int, task_types: Sequence[str], largest: int
) -> list[Plan]:
    """Draws base workflows: shapes in random order, types dealt out evenly."""
    table = random_shapes(rng, num_workflows, min(MIN_SUBTASKS, largest), largest)
    shapes = [shape for shape, count in table.shapes().items() for _ in range(count)]
    order = rng.permutation(num_workflows).tolist()
    types = _dealt(rng, task_types, sum(size for size, _ in shapes))
    return [(_next(types, shapes[k][0]), shapes[k][1]) for k in order]


def _variants(
    rng: np.random.Generator, base: Sequence[Plan], number: int, task_types: Sequence[str]
) -> list[Plan]:
    """Draws variants of base workflows; see `builtin_workflows`."""
    chosen = [(base[i % len(base)], (i // len(base)) % 2 == 1) for i in range(number)]
    redrawn = sum(len(plan[0]) for plan, redraw in chosen if redraw)
    types = _dealt(rng, task_types, redrawn)
    return [
        (_next(types, len(kinds)) if redraw else kinds, links) for (kinds, links), redraw in chosen
    ]


def _dealt(rng: np.random.Generator, task_types: Sequence[str], number: int) -> Iterator[str]:
    """Deals task types like cards: every one comes before any comes again."""
    rounds = -(-number // len(task_types))
    deck = rng.permuted(np.tile(np.arange(len(task_types)), (rounds, 1)), axis=1)
    return iter([task_types[t] for t in deck.ravel().tolist()])


def _next(types: Iterator[str], number: int) -> tuple[str, ...]:
    return tuple(next(types) for _ in range(number))


def _worded(
    rng: np.random.Generator, plans: Sequence[Plan], split: Split, prefix: str, used: set[str]
) -> Iterator[Workflow]:
    """Puts plans into words; `used` holds the instructions that are taken."""
    names = clients(split)
    chances = iter(rng.random(sum(2 + len(types) for types, _ in plans)).tolist())
    for k, (types, links) in enumerate(plans):
        client = _pick(names, next(chances))
        steps = [_pick(phrases(kind), next(chances)) for kind in types]
        parts = [_pick(openings(client), next(chances))]
        for heading, step in zip(_headings(len(types), links), steps, strict=True):
            parts.append(f"{heading}{step}.")
        instruction = " ".join(parts)
        if instruction in used:
            instruction += f" (Request {prefix}-{k}.)"
        used.add(instruction)
        yield Workflow(
            id=f"{prefix}-{k:05d}",
            instruction=instruction,
            subtasks=tuple(
                Subtask(name=f"{client}: {step}", type=kind)
                for step, kind in zip(steps, types, strict=True)
            ),
            links=links,
        )


def _pick(words: Sequence[str], chance: float) -> str:
    return words[int(chance * len(words))]


@functools.cache
def _headings(size: int, links: Links) -> tuple[str, ...]:
    """Heads the steps of a shape, such as "Step 3, with the result of steps 1 and 2: "."""
    parents = [[i + 1 for i, child in links if child == j] for j in range(size)]
    return tuple(f"Step {j + 1}{_needs(parents[j])}: " for j in range(size))


def _needs(parents: Sequence[int]) -> str:
    if not parents:
        return ""
    *others, last = map(str, parents)
    before = f"s {', '.join(others)} and" if others else ""
    return f", with the result of step{before} {last}"


def _task_types_of(pool: WorkerPool) -> tuple[str, ...]:
    """Returns the types that a pool's skills name, in order of first appearance.

    Raises:
        ConfigError: no worker has a skill.
    """
    types: Iterable[str] = (kind for worker in pool.workers for kind in worker.skills)
    found = tuple(dict.fromkeys(types))
    if not found:
        raise ConfigError(
            "worker pool: no worker has skills, so nothing can be simulated; give each worker "
            "skills {task type: {success, output_tokens, source}}"
        )
    return found


def builtin_dataset(
    split: str = "train",
    *,
    pool: WorkerPool | None = None,
    num_workflows: int | None = None,
    synthetic_augmentations: int | None = None,
    seed: int = 0,
    max_subtasks: int = 20,
    simulation: SimulationSettings | None = None,
) -> Dataset:
    """Builds a split of the built-in data set.

    Args:
        split: train, validation or test; no instruction is in two of them.
        pool: workers; None takes the built-in ones. Task types are those that its skills name.
        num_workflows: base workflows; None takes 300, 200 or 500.
        synthetic_augmentations: variants that follow them, see `builtin_workflows`; None takes
            1,000 in the default training split (1,300 workflows in all) and none elsewhere.
        seed: seed of the workflows, >= 0.
        max_subtasks: padded size of a workflow; below 6 it also limits their sizes.
        simulation: parameters that all workers share; None takes the defaults.

    Raises:
        ConfigError: the split is unknown, the pool has no skill, or a number is out of range.
    """
    known = _known_split(split)
    if pool is None:
        pool, task_types = builtin_pool()
    else:
        task_types = _task_types_of(pool)
    if synthetic_augmentations is None:
        is_default = known == "train" and num_workflows is None
        synthetic_augmentations = SYNTHETIC_AUGMENTATIONS if is_default else 0
    workflows = builtin_workflows(
        NUM_WORKFLOWS[known] if num_workflows is None else num_workflows,
        seed,
        task_types,
        split=known,
        synthetic_augmentations=synthetic_augmentations,
        max_subtasks=max_subtasks,
    )
    outcomes, statistics = simulated_tables(pool, task_types, simulation)
    return Dataset(
        name="builtin",
        pool=pool,
        workflows=WorkflowTable.from_workflows(
            workflows, task_types=task_types, max_subtasks=max_subtasks
        ),
        outcomes=outcomes,
        statistics=statistics,
        latency_label="simulated",
    )
