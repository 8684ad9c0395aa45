"""Command: workers never seen in training, added at test time.

A policy is trained without some workers and evaluated with all of them. Let prices and latencies
vary in training (training.variation), else it does not learn what those of other workers mean. What
the environment knows of a new worker, its mean cost, latency and success and the stored
predictions, comes from recorded training queries, as for any other; the policy has never been
offered it. The scales by which cost and time are squashed are medians over the pool, so they shift
too when workers join.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.benchmark.contest import (
    Contender,
    Contest,
    FloatArray,
    Standing,
    hold_contest,
    interval,
)
from agents.benchmark.new_workers_plot import plot_new_workers
from agents.benchmark.variants import (
    POLICY,
    Start,
    Study,
    Variant,
    read_study,
    study_parser,
    train_variants,
)
from agents.checkpoint import write_whole
from agents.experiment import experiment_dataset
from agents.phase2_callbacks import BEST
from agents.tune_tables import TABLES
from orchestai_env.cli import run_command
from orchestai_env.dataset import Dataset
from orchestai_env.errors import ConfigError, DataError, UnknownWorkerError, unknown_name
from orchestai_env.run_folder import claim

SPLITS = ("train", "test")
SUMMARY, PICTURE = "summary.json", "new_workers.png"
FEWER, MASKED, ALL, TABLE_FEWER, TABLE_ALL = CONTENDERS = (
    "trained without them",
    "trained without them, not offered them",
    "trained with all",
    "escalation table without them",
    "escalation table with all",
)
"""The contenders, in the order of tables and pictures."""
_NUM_HELD_OUT = 2

Names = tuple[str, ...]


def held_out_sets(study: Study, given: Sequence[str]) -> tuple[Names, ...]:
    """Returns the workers that each seed's training leaves out.

    Args:
        study: settings, data and seeds.
        given: values of --held_out, each a list of names joined by commas; seed k takes number k
            modulo their count. Without one, every seed draws two workers, such that the others can
            serve all workflows.
    Raises:
        UnknownWorkerError: the pool has no such worker.
        ConfigError: no worker would be left.
        DataError: a subtask would have no worker that can serve it.
    """
    datasets = [experiment_dataset(study.config, study.data, split) for split in ("train", "test")]
    if not given:
        return tuple(_drawn(seed, datasets) for seed in study.seeds)
    sets = [_read_names(text, datasets[0].pool.names) for text in given]
    for names in sets:
        for dataset in datasets:
            dataset.with_workers(_others(dataset.pool.names, names))
    return tuple(sets[index % len(sets)] for index in range(len(study.seeds)))


def _read_names(text: str, pool: Names) -> Names:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in pool:
            raise UnknownWorkerError(f"--held_out {text}: {unknown_name('worker', name, pool)}")
    if len(names) >= len(pool):
        raise ConfigError(f"--held_out {text}: leaves none of the workers {', '.join(pool)}")
    return names


def _drawn(seed: int, datasets: Sequence[Dataset]) -> Names:
    pool = datasets[0].pool.names
    sets: list[Names] = []
    if len(pool) > _NUM_HELD_OUT:
        sets = list(itertools.combinations(pool, _NUM_HELD_OUT))
    order: list[int] = np.random.default_rng(seed).permutation(len(sets)).tolist()
    for index in order:
        try:
            for dataset in datasets:
                dataset.with_workers(_others(pool, sets[index]))
        except DataError:
            continue
        return sets[index]
    raise ConfigError(
        f"no {_NUM_HELD_OUT} of the workers {', '.join(pool)} can be left out, so that the others "
        "serve every subtask; name workers with --held_out, or add some to the pool"
    )


def _others(pool: Names, names: Sequence[str]) -> Names:
    return tuple(name for name in pool if name not in names)


def worker_variants(
    study: Study, pool: Names, held_out: Sequence[Names], start: Start
) -> tuple[tuple[Variant, ...], Variant]:
    """Returns what is trained: for each seed one without its workers, and one with all of them."""
    everyone = Variant(
        name="all", config=study.config, weights=study.weights, seeds=study.seeds, start=start
    )
    fewer = tuple(
        dataclasses.replace(
            everyone,
            name="without_" + "_".join(str(pool.index(name)) for name in names),
            config=study.config.model_copy(update={"use_workers": _others(pool, names)}),
            seeds=(seed,),
        )
        for seed, names in zip(study.seeds, held_out, strict=True)
    )
    return fewer, everyone


def worker_contest(
    study: Study, pool: Names, fewer: Sequence[Variant], everyone: Variant
) -> Contest:
    """Returns the contest: all contenders choose among all workers, but for those that may not."""
    dirs = {
        FEWER: [variant.run_dir(study.output_dir, variant.seeds[0]) for variant in fewer],
        ALL: [everyone.run_dir(study.output_dir, seed) for seed in study.seeds],
    }
    known = tuple(variant.config.use_workers or pool for variant in fewer)
    entries = (
        (FEWER, FEWER, f"{POLICY}/{BEST}", None),
        (MASKED, FEWER, f"{POLICY}/{BEST}", known),
        (ALL, ALL, f"{POLICY}/{BEST}", None),
        (TABLE_FEWER, FEWER, TABLES, known),
        (TABLE_ALL, ALL, TABLES, None),
    )
    contenders = tuple(
        Contender(
            name=name,
            weights=study.weights,
            files=tuple(run_dir / file for run_dir in dirs[trained]),
            only=only,
        )
        for name, trained, file, only in entries
    )
    return Contest(config=study.config, data=study.data, contenders=contenders, splits=SPLITS)


def summarise_workers(
    study: Study, pool: Names, held_out: Sequence[Names], standing: Standing
) -> dict[str, Any]:
    """Returns what summary.json holds; differences and ratios are on test queries."""
    replicates = dict(zip(CONTENDERS, standing.resampled("return"), strict=True))
    new_calls = _share_of_new(pool, held_out, standing)
    result: dict[str, Any] = {
        "profile": study.profile,
        "seeds": list(study.seeds),
        "held_out": [list(names) for names in held_out],
        "contenders": {},
    }
    for index, name in enumerate(CONTENDERS):
        result["contenders"][name] = {
            split: {
                f"{measure}_mean" if measure == "return" else measure: float(
                    standing.measure(split, measure)[index]
                )
                for measure in ("return", "success", "cost_usd", "latency_s")
            }
            | {"return_per_seed": standing.points[split][index, 0].tolist()}
            for split in SPLITS
        }
        test = result["contenders"][name]["test"]
        test["ci95"] = interval(replicates[name])
        test["share_of_new_workers"] = new_calls[index].tolist()
    means = {name: found["test"]["return_mean"] for name, found in result["contenders"].items()}
    result["ratio_to_all"] = _ratio_to_all(result, replicates)
    result["differences"] = {
        other: {
            "difference_mean": means[FEWER] - means[other],
            "ci95": interval(replicates[FEWER] - replicates[other]),
        }
        for other in CONTENDERS[1:]
    }
    return result


def _share_of_new(pool: Names, held_out: Sequence[Names], standing: Standing) -> FloatArray:
    """Returns float64 (C, S): the share of test calls that go to workers left out of training."""
    picks = standing.picks["test"]
    is_new = np.array([np.isin(pool, names) for names in held_out])
    share: FloatArray = (picks * is_new).sum(axis=2) / np.maximum(picks.sum(axis=2), 1)
    return share


def _ratio_to_all(result: dict[str, Any], replicates: dict[str, FloatArray]) -> dict[str, Any]:
    """Returns ratio and ci95; null where what they would be a share of is not above 0."""
    means = {name: found["test"]["return_mean"] for name, found in result["contenders"].items()}
    if means[ALL] <= 0 or (replicates[ALL] <= 0).any():
        return {"ratio": None, "ci95": None}
    return {
        "ratio": means[FEWER] / means[ALL],
        "ci95": interval(replicates[FEWER] / replicates[ALL]),
    }


def workers_table(result: dict[str, Any]) -> Table:
    """Returns the test results as a table for the terminal."""
    table = Table(title="Workers never seen in training, test queries")
    for name in ("agent", "train return", "test return", "success", "USD", "calls of new workers"):
        table.add_column(name, justify="left" if name == "agent" else "right")
    table.add_column(f"difference: {FEWER} - this", justify="right")
    for name, found in result["contenders"].items():
        test = found["test"]
        difference = result["differences"].get(name)
        table.add_row(
            name,
            f"{found['train']['return_mean']:.3f}",
            f"{test['return_mean']:.3f} {_shown(test['ci95'])}",
            f"{test['success']:.3f}",
            f"{test['cost_usd']:.5f}",
            f"{100 * np.mean(test['share_of_new_workers']):.1f} %",
            f"{difference['difference_mean']:+.3f} {_shown(difference['ci95'])}"
            if difference
            else "",
        )
    return table


def _shown(ends: Sequence[float]) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]"


def run_new_workers(study: Study, given: Sequence[str], start: Start) -> dict[str, Any]:
    """Trains what is not trained yet, compares, and writes summary.json and new_workers.png.

    Args:
        study: settings, data and folder.
        given: values of --held_out; see `held_out_sets`.
        start: scratch, or bc: each policy is cloned first.
    Raises:
        OrchestAIError: settings or data are wrong, or a training failed.
    """
    held_out = held_out_sets(study, given)
    pool = experiment_dataset(study.config, study.data, "train").pool.names
    fewer, everyone = worker_variants(study, pool, held_out, start)
    train_variants([*fewer, everyone], study.output_dir, study.data, tables=True)
    standing = hold_contest(worker_contest(study, pool, fewer, everyone))
    result = summarise_workers(study, pool, held_out, standing)
    text = json.dumps(result, indent=1) + "\n"
    write_whole(study.output_dir / SUMMARY, lambda path: path.write_text(text))
    plot_new_workers(study.output_dir / PICTURE, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, compares, and prints the result."""
    summary, _, _ = (__doc__ or "").partition("\n")
    parser = study_parser("agents.benchmark.new_workers", summary)
    parser.add_argument(
        "--held_out",
        action="append",
        default=[],
        metavar="NAME,NAME",
        help="workers to leave out in training; given again, the seeds take turns; without it each "
        "seed draws two",
    )
    parser.add_argument(
        "--start", choices=("scratch", "bc"), default="bc", help="bc: clone each policy first"
    )
    args = parser.parse_args(argv)
    with claim(args.output_dir):
        result = run_new_workers(read_study(args), args.held_out, args.start)
    Console(width=max(Console().width, 140)).print(workers_table(result))
    for seed, names in zip(result["seeds"], result["held_out"], strict=True):
        print(f"seed {seed}: trained without {', '.join(names)}")
    ratio = result["ratio_to_all"]
    share = "not above 0"
    if ratio["ratio"] is not None:
        share = f"{ratio['ratio']:.3f} {_shown(ratio['ci95'])}"
    print(
        f"return of the policy trained without them / with all: {share}; "
        f"{args.output_dir / SUMMARY}, {args.output_dir / PICTURE}"
    )


if __name__ == "__main__":
    run_command(main)
