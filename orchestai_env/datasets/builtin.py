"""The built-in data set: real workers, made-up requests, simulated outcomes; no file to fetch."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pydantic

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin_embeddings import with_builtin_embeddings
from orchestai_env.datasets.builtin_phrases import (
    clients,
    first_steps,
    next_steps,
    openings,
)
from orchestai_env.datasets.builtin_plans import MAX_SUBTASKS, Deck, Plan, Planner
from orchestai_env.datasets.builtin_themes import THEMES, Theme
from orchestai_env.datasets.shapes import Links
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

    Shapes come equally often (chain, fork, join, diamond, independent, and others at random), so do
    the sizes of a shape up to 6 subtasks, and task types (to within one occurrence), none twice in
    a workflow while there are others. A request is about one matter, and each of its steps works on
    the material of that matter or on results of earlier steps. Every request is made by a client,
    and a client belongs to one split, so no instruction and no subtask name is in two splits,
    whatever the seeds.

    Args:
        num_workflows: base workflows, >= 1; the first ones do not depend on how many follow.
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
    if num_workflows < 1 or synthetic_augmentations < 0 or seed < 0 or max_subtasks < 1:
        raise ConfigError(
            "expected num_workflows >= 1, synthetic_augmentations >= 0, seed >= 0 and "
            f"max_subtasks >= 1, got {num_workflows}, {synthetic_augmentations}, {seed} and "
            f"{max_subtasks}"
        )
    streams = np.random.default_rng([seed, SPLITS.index(known)]).spawn(4)
    base = list(Planner(streams[0], task_types, max_subtasks).base(num_workflows))
    variants = Planner(streams[1], task_types, max_subtasks).variants(base, synthetic_augmentations)
    used: set[str] = set()
    return [
        *_worded(streams[2], base, known, f"builtin-{known}", used),
        *_worded(streams[3], variants, known, f"builtin-{known}-variant", used),
    ]


def _known_split(split: str) -> Split:
    for known in SPLITS:
        if split == known:
            return known
    raise ConfigError(unknown_name("split", split, SPLITS))


def _worded(
    rng: np.random.Generator, plans: Iterable[Plan], split: Split, prefix: str, used: set[str]
) -> Iterator[Workflow]:
    """Puts plans into words; `used` holds the instructions that are taken."""
    themes, names = Deck(rng, THEMES), clients(split)
    for k, (types, links) in enumerate(plans):
        theme = themes.deal()
        chances = rng.random(2 + len(types)).tolist()
        client = names[int(chances[0] * len(names))]
        words = [
            _pick(_choices(theme, types, j, parents), chance)
            for j, (parents, chance) in enumerate(
                zip(_parents(len(types), links), chances[2:], strict=True)
            )
        ]
        parts = [_pick(openings(client, theme), chances[1])]
        for heading, step in zip(_headings(len(types), links), words, strict=True):
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
                for step, kind in zip(words, types, strict=True)
            ),
            links=links,
        )


def _choices(
    theme: Theme, types: Sequence[str], j: int, parents: Sequence[int]
) -> Sequence[Sequence[str]]:
    """Returns what step j may say."""
    if not parents:
        return first_steps(theme, types[j])
    return next_steps(theme, types[j], types[parents[0]] if len(parents) == 1 else None)


def _pick(groups: Sequence[Sequence[str]], chance: float) -> str:
    """Picks a group, then one of it, both evenly, by a number in 0..1."""
    group = groups[int(chance * len(groups))]
    return group[int(chance * len(groups) % 1.0 * len(group))]


@functools.cache
def _parents(size: int, links: Links) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(i for i, child in links if child == j) for j in range(size))


@functools.cache
def _headings(size: int, links: Links) -> tuple[str, ...]:
    """Heads the steps of a shape, such as "Step 3, with the results of steps 1 and 2: "."""
    parents = _parents(size, links)
    return tuple(f"Step {j + 1}{_needs(parents[j])}: " for j in range(size))


def _needs(parents: Sequence[int]) -> str:
    if not parents:
        return ""
    *others, last = (str(i + 1) for i in parents)
    if not others:
        return f", with the result of step {last}"
    return f", with the results of steps {', '.join(others)} and {last}"


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

    Where the package ships the embeddings of all its texts, as for the defaults and their first
    workflows, the data set has them; else, under another seed or with other task types for
    instance, it has none.

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
    table = WorkflowTable.from_workflows(
        workflows, task_types=task_types, max_subtasks=max_subtasks
    )
    outcomes, statistics = simulated_tables(pool, task_types, simulation)
    return with_builtin_embeddings(
        Dataset(
            name="builtin",
            pool=pool,
            workflows=table,
            outcomes=outcomes,
            statistics=statistics,
            latency_label="simulated",
        ),
        workflows,
    )
