"""Random configurations for the soak: data, rules, weights, observation, size, and how it acts."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.splits import SPLITS
from orchestai_env.observation import KEYS
from orchestai_env.outcomes.simulated import SimulationSettings, simulated_tables
from orchestai_env.reward import RewardWeights
from orchestai_env.workers import WorkerPool
from tests.orchestai_env.toy import Instance, Trial, toy_dataset

_SINGLE_SHARE = 0.25
_BATCH_SIZES = (1, 2, 7, 32, 128, 512)
_SINGLE_STEPS = (50, 300)
_BATCH_STEPS = (10, 100)  # of each row
_TOY_LATENCIES_MS = (0.0, 1.0, 2.0, 3.0, 5.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoakCase:
    """One configuration and how it is played; `draw_case` of its seed and number makes it again."""

    seed: int
    number: int
    data: str
    """What the data set is, in words."""
    dataset: Dataset
    rules: dict[str, Any]
    weights: RewardWeights
    observation: tuple[str, ...] | None
    num_envs: int | None
    """Rows of a batch; None = one environment, not batched."""
    num_steps: int
    """Steps of each row."""
    follows_mask: bool
    """Whether it picks allowed workers only."""
    is_covered: bool
    """Whether no call costs more than what the budget reserves for it."""

    def __str__(self) -> str:
        """Returns the configuration as lines of text."""
        lines = {
            "data": f"{self.data}, {len(self.dataset.workflows)} workflows, "
            f"{len(self.dataset.pool)} workers",
            "rules": self.rules,
            "reward_weights": self.weights,
            "observation": self.observation or "all keys",
            "environment": "single" if self.num_envs is None else f"batch of {self.num_envs}",
            "actions": "random allowed ones" if self.follows_mask else "random, also masked ones",
        }
        head = f"configuration {self.number} of seed {self.seed}"
        return "\n".join([head, *(f"  {name}: {value}" for name, value in lines.items())])


def draw_case(seed: int, number: int) -> SoakCase:
    """Draws a configuration; the same numbers give the same one."""
    rng = np.random.default_rng([seed, number])
    is_toy = bool(rng.random() < 0.5)
    data, dataset, is_covered = _toy(rng) if is_toy else _builtin(rng)
    follows_mask = bool(rng.random() < 0.2)
    rules = _rules(rng, len(dataset.pool), is_toy)
    if follows_mask and rng.random() < 0.5:
        rules["on_masked_action"] = "error"
    is_single = rng.random() < _SINGLE_SHARE
    return SoakCase(
        seed=seed,
        number=number,
        data=data,
        dataset=dataset,
        rules=rules,
        weights=_weights(rng),
        observation=_observation(rng, dataset),
        num_envs=None if is_single else int(rng.choice(_BATCH_SIZES)),
        num_steps=int(rng.integers(*(_SINGLE_STEPS if is_single else _BATCH_STEPS))),
        follows_mask=follows_mask,
        is_covered=is_covered,
    )


@functools.cache
def _split(split: str) -> Dataset:
    return builtin_dataset(split)


def _builtin(rng: np.random.Generator) -> tuple[str, Dataset, bool]:
    """Returns some built-in workflows; often with other workers' limits and another simulation."""
    split = str(rng.choice(SPLITS))
    dataset = _split(split)
    kept = rng.choice(len(dataset.workflows), size=int(rng.integers(1, 50)), replace=False)
    dataset = dataset.with_workflows(dataset.workflows.take(kept))
    if rng.random() < 0.5:
        return f"built-in, {split}", dataset, False
    pool = WorkerPool(
        tuple(
            spec.model_copy(update={"concurrency": int(rng.integers(1, 4))})
            for spec in dataset.pool.workers
        )
    )
    settings = SimulationSettings(
        difficulty_spread=rng.uniform(0.0, 2.0),
        retry_correlation=rng.uniform(0.0, 1.0),
        quality_coupling=rng.uniform(0.0, 2.0),
        load_slowdown=rng.uniform(0.0, 2.0),
        token_spread=rng.uniform(0.0, 1.5),
    )
    outcomes, statistics = simulated_tables(pool, dataset.task_types, settings)
    dataset = dataclasses.replace(dataset, pool=pool, outcomes=outcomes, statistics=statistics)
    return f"built-in, {split}, {settings}, few slots", dataset, False


def _toy(rng: np.random.Generator) -> tuple[str, Dataset, bool]:
    """Returns some small recorded workflows; the budget reserves any amount in half of them."""
    num_workers, num_types = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    instances = [_instance(rng, num_workers, num_types) for _ in range(int(rng.integers(1, 9)))]
    is_covered = bool(rng.random() < 0.5)
    reserved = rng.integers(0, 17, size=(num_types, num_workers)) / 64
    longest = max(len(instance.calls) for instance in instances)
    dataset = toy_dataset(
        instances,
        concurrency=rng.integers(1, 4, size=num_workers).tolist(),
        cost_upper=() if is_covered else reserved.tolist(),
        max_subtasks=longest + int(rng.integers(0, 3)),
    )
    return "recorded toy", dataset, is_covered


def _instance(rng: np.random.Generator, num_workers: int, num_types: int) -> Instance:
    """Returns a DAG of up to 8 subtasks with up to 3 recorded trials of every call."""
    size, density = int(rng.integers(1, 9)), rng.random()
    pairs = itertools.combinations(range(size), 2)
    return Instance(
        calls=tuple(tuple(_trials(rng) for _ in range(num_workers)) for _ in range(size)),
        links=tuple(pair for pair in pairs if rng.random() < density),
        types=tuple(rng.integers(num_types, size=size).tolist()),
    )


def _trials(rng: np.random.Generator) -> tuple[Trial, ...]:
    """Returns calls whose costs add up without rounding and whose ends often coincide."""
    return tuple(
        Trial(
            score=int(rng.integers(5)) / 4,
            latency_ms=float(rng.choice(_TOY_LATENCIES_MS)),
            cost_usd=int(rng.integers(17)) / 64,
        )
        for _ in range(int(rng.choice(4, p=(0.1, 0.3, 0.3, 0.3))))
    )


def _rules(rng: np.random.Generator, num_workers: int, is_toy: bool) -> dict[str, Any]:
    usd, ms = ((1 / 64, 2.0), (0.001, 30.0)) if is_toy else ((1e-4, 0.1), (10.0, 100_000.0))
    return {
        "max_attempts": int(rng.integers(1, 5)),
        "max_parallel_tasks": int(rng.integers(1, 7)),
        "on_failure": str(rng.choice(("abort", "continue"))),
        "cost_budget_usd": _log_uniform(rng, *usd) if rng.random() < 0.4 else None,
        "deadline_ms": _log_uniform(rng, *ms) if rng.random() < 0.4 else None,
        "max_steps": int(rng.integers(1, 9)) if rng.random() < 0.3 else None,
        "preference_spread": _log_uniform(rng, 1.0, 100.0) if rng.random() < 0.3 else 1.0,
        "price_spread": _log_uniform(rng, 1.0, 100.0) if rng.random() < 0.3 else 1.0,
        "latency_spread": _log_uniform(rng, 1.0, 100.0) if rng.random() < 0.3 else 1.0,
        "min_workers": int(rng.integers(1, num_workers + 1)) if rng.random() < 0.3 else None,
        "shuffle_workers": bool(rng.random() < 0.3),
    }


def _weights(rng: np.random.Generator) -> RewardWeights:
    if rng.random() < 0.3:
        return RewardWeights()
    drawn = [0.0 if rng.random() < 0.1 else _log_uniform(rng, 1e-3, 1e3) for _ in range(4)]
    names = ("success_weight", "cost_weight", "latency_weight", "shaping_weight")
    weights: dict[str, Any] = dict(zip(names, drawn, strict=True))
    return RewardWeights(**weights, latency_unit="ms" if rng.random() < 0.5 else "s")


def _observation(rng: np.random.Generator, dataset: Dataset) -> tuple[str, ...] | None:
    if rng.random() < 0.6:
        return None
    known = KEYS if dataset.query_embeddings is not None else KEYS[2:]
    count = int(rng.integers(1, len(known) + 1))
    return tuple(str(key) for key in rng.choice(known, size=count, replace=False))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
