"""Counts how often the 95 % intervals of `orchestai calibrate` hold the truth.

Run it with `python -m benchmarks.calibration_coverage`. Every replicate draws a simulator of its
own (4 workers, 3 task types), logs a few executions of it with random choices, and fits them.
Latencies get a skewed noise, as those of endpoints have. Input tokens have none, so that their
intervals are narrow; they are listed for completeness.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from benchmarks.timing import print_machine, print_table
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.calibration.estimates import Estimate
from orchestai_env.datasets.calibration.fit import fit_pool
from orchestai_env.datasets.calibration.log_table import LogTable, log_table
from orchestai_env.datasets.calibration.shared_prior import KINSHIP_SD, OWN_SPREAD_SD
from orchestai_env.outcomes.simulated import SimulationSettings
from orchestai_env.workers import TaskSkill, WorkerPool, WorkerSpec
from tests.orchestai_env.datasets.calibration.played_log import played_records

REPLICATES, EXECUTIONS = 100, 150
_TYPES, _WORKERS = ("extract", "plan", "code"), 4
_PHI = NormalDist().cdf
_LATENCY_SD = 0.4  # of the logarithm; chosen, recorded calls of LLMs (fbc) have 0.1 to 0.6
PAIR_FIELDS = (
    "success",
    "difficulty_spread",
    "input_tokens",
    "output_tokens",
    "token_spread",
    "tokens_by_difficulty",
    "tokens_by_luck",
)


def drawn_simulator(rng: np.random.Generator) -> tuple[WorkerPool, SimulationSettings]:
    """Draws workers and shared parameters of a simulator."""
    kinds, center = rng.normal(0.0, 0.4, len(_TYPES)), rng.normal(0.3, 0.3)
    spread, unsolvable = rng.lognormal(math.log(0.8), 0.3), min(rng.exponential(0.02), 0.1)
    workers = []
    for w in range(_WORKERS):
        own = rng.normal(0.0, 0.4)
        skills = {
            name: TaskSkill(
                success=(1.0 - unsolvable) * _PHI(center + own + kind + rng.normal(0.0, 0.3)),
                input_tokens=float(rng.integers(100, 400)),
                output_tokens=math.exp(rng.normal(5.0, 0.5)),
                difficulty_spread=spread * rng.lognormal(0.0, OWN_SPREAD_SD),
                token_spread=(token_spread := rng.uniform(0.4, 0.7)),
                tokens_by_difficulty=0.6 * token_spread * rng.uniform(0.0, 1.0),
                tokens_by_luck=0.6 * token_spread * rng.uniform(-1.0, 1.0),
                source="drawn",
            )
            for name, kind in zip(_TYPES, kinds, strict=True)
        }
        worker = WorkerSpec(
            name=f"worker {w}",
            first_token_ms=rng.uniform(100.0, 1000.0),
            tokens_per_s=rng.uniform(20.0, 200.0),
            input_usd_per_mtok=1.0,
            output_usd_per_mtok=2.0,
            concurrency=2,
            kinship=rng.normal(0.0, KINSHIP_SD),
            skills=skills,
        )
        workers.append(worker)
    settings = SimulationSettings(
        difficulty_spread=spread,
        unsolvable_share=unsolvable,
        retry_correlation=1.0 / (1.0 + math.exp(-rng.normal(0.85, 0.7))),
        quality_coupling=rng.uniform(0.2, 1.2),
        load_slowdown=rng.uniform(0.05, 0.3),
    )
    return WorkerPool(tuple(workers)), settings


def replicate(seed: int, executions: int) -> Iterator[tuple[str, float, Estimate]]:
    """Yields (parameter, truth, estimate) of one simulator that was drawn, logged and fitted."""
    pool, settings = drawn_simulator(np.random.default_rng(seed))
    dataset = builtin_dataset(pool=pool, simulation=settings, num_workflows=100, seed=seed)
    log = log_table(played_records(dataset, executions, seed=seed, max_attempts=4))
    fitted = fit_pool(with_noise(log, seed))
    for name, estimate in fitted.shared.items():
        if name != "token_spread":  # of pairs without one of their own: here there is none
            yield name, getattr(settings, name), estimate
    workers = {worker.name: worker for worker in pool.workers}
    for pair in fitted.pairs:
        skill = workers[pair.worker].skills[pair.task_type]
        for name in PAIR_FIELDS:
            yield f"{name} of a pair", getattr(skill, name), getattr(pair, name)
    kinship = [workers[name].kinship for name in fitted.kinship]
    found = [estimate.value for estimate in fitted.kinship.values()]
    sign = -1.0 if np.dot(kinship, found) < 0.0 else 1.0  # which one is a convention
    for truth, estimate in zip(kinship, fitted.kinship.values(), strict=True):
        yield "kinship", sign * truth, estimate
    for name, (first, token) in fitted.speeds.items():
        yield "first_token_ms", workers[name].first_token_ms, first
        yield "token_ms", 1e3 / workers[name].tokens_per_s, token


def with_noise(log: LogTable, seed: int) -> LogTable:
    """Returns a log whose calls took as long on average, and not exactly so."""
    calls, rng = log.calls, np.random.default_rng(seed)
    factor = rng.lognormal(-0.5 * _LATENCY_SD**2, _LATENCY_SD, len(calls))
    noisy = dataclasses.replace(calls, latency_ms=factor * calls.latency_ms)
    return dataclasses.replace(log, calls=noisy)


def coverage(seeds: Sequence[int], executions: int) -> dict[str, list[bool]]:
    """Returns for each parameter whether each of its intervals held the truth."""
    found: dict[str, list[bool]] = {}
    for seed in seeds:
        for name, truth, estimate in replicate(seed, executions):
            found.setdefault(name, []).append(estimate.low <= truth <= estimate.high)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the coverage of every parameter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=REPLICATES, help="simulators to draw")
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="logged of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first replicate")
    args = parser.parse_args(argv)
    print_machine("scipy")
    seeds = range(args.seed, args.seed + args.replicates)
    found = coverage(seeds, args.executions)
    rows = [(name, f"{len(held)}", f"{np.mean(held):.3f}") for name, held in found.items()]
    print_table(("parameter", "intervals", "held the truth"), rows)


if __name__ == "__main__":
    main()
