"""Command: one policy for every trade-off, against a policy trained for each."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.agent import Setting
from agents.benchmark.contest import (
    Contender,
    Contest,
    FloatArray,
    Standing,
    hold_contest,
    interval,
    load_policy,
)
from agents.benchmark.front_plot import plot_front
from agents.benchmark.fronts import hypervolume, pareto_mask, reference_point
from agents.benchmark.variants import (
    POLICY,
    Study,
    Variant,
    read_study,
    study_parser,
    train_variants,
)
from agents.checkpoint import write_whole
from agents.config import ExperimentSettings
from agents.evaluate import evaluate
from agents.experiment import experiment_dataset
from agents.phase2_callbacks import BEST, LAST
from agents.preference import scaled_weights
from orchestai_env.cli import run_command
from orchestai_env.reward import RewardWeights
from orchestai_env.run_folder import claim

SPLITS = ("train", "test")
SUMMARY, PICTURE = "summary.json", "front.png"
_ONE = "conditioned"
_MARGIN = 1.1  # chosen: so that the dearest and the slowest point dominate something too

Factors = tuple[float, float]
"""Of the profile's cost weight and latency weight."""


def finer(factors: Sequence[Factors]) -> tuple[Factors, ...]:
    """Returns the preferences with the geometric mean of each two neighbours between them."""
    between = [
        (float(np.sqrt(a[0] * b[0])), float(np.sqrt(a[1] * b[1])))
        for a, b in itertools.pairwise(factors)
    ]
    mixed = [pair for both in zip(factors, between, strict=False) for pair in both]
    return (*mixed, factors[-1])


def front_variants(study: Study) -> tuple[Variant, ...]:
    """Returns what is trained: the conditioned policy first, then one for each preference."""
    front = study.config.benchmark.front
    factors = [(1.0, 1.0), *front.factors]
    spreads = [front.spread, *([1.0] * len(front.factors))]
    names = [_ONE, *(f"cost{cost:g}_latency{latency:g}" for cost, latency in front.factors)]
    return tuple(
        Variant(
            name=name,
            config=_with_training(study.config, spread),
            weights=scaled_weights(study.weights, *pair),
            seeds=study.seeds,
            start=front.start,
        )
        for name, pair, spread in zip(names, factors, spreads, strict=True)
    )


def _with_training(config: ExperimentSettings, spread: float) -> ExperimentSettings:
    training, steps = config.training, config.benchmark.front.timesteps
    variation = training.variation.model_copy(update={"preference_spread": spread})
    changes = {} if steps is None else {"total_timesteps": steps}
    phase2 = training.phase2_rl.model_copy(update=changes)
    changed = training.model_copy(update={"variation": variation, "phase2_rl": phase2})
    return config.model_copy(update={"training": changed})


def choose_checkpoint(
    run_dir: Path, setting: Setting, preferences: Sequence[RewardWeights]
) -> Path:
    """Returns the best or the last checkpoint of a conditioned policy, whichever serves better.

    Training keeps the best one under the profile's own weights; here the mean of the validation
    returns under all preferences decides.

    Args:
        run_dir: of phase 2.
        setting: validation workflows.
        preferences: weights to serve.
    """

    def mean_return(name: str) -> float:
        agent = load_policy(run_dir / name, setting)
        returns = [
            evaluate(agent, dataclasses.replace(setting, weights=weights), seed=0).episode_return
            for weights in preferences
        ]
        return float(np.mean(returns))

    return run_dir / max((BEST, LAST), key=mean_return)


def front_contest(study: Study, variants: Sequence[Variant], *, with_finer: bool) -> Contest:
    """Returns the contest: the conditioned policy at each preference, then those of one each.

    With `with_finer` the conditioned policy comes a third time, at the finer preferences.
    """
    config, (one, *separate) = study.config, variants
    preferences = [variant.weights for variant in separate]
    validation = experiment_dataset(config, study.data, "validation")
    setting = Setting(
        dataset=validation.first(config.training.phase2_rl.evaluation_workflows),
        rules=config.rules(),
        weights=study.weights,
    )
    chosen = tuple(
        choose_checkpoint(one.run_dir(study.output_dir, seed) / POLICY, setting, preferences)
        for seed in study.seeds
    )
    contenders = [
        Contender(name=f"{_ONE} {variant.name}", weights=variant.weights, files=chosen)
        for variant in separate
    ]
    contenders += [
        Contender(
            name=variant.name,
            weights=variant.weights,
            files=tuple(
                variant.run_dir(study.output_dir, seed) / POLICY / BEST for seed in variant.seeds
            ),
        )
        for variant in separate
    ]
    if with_finer:
        contenders += [
            Contender(
                name=f"{_ONE} {pair}", weights=scaled_weights(study.weights, *pair), files=chosen
            )
            for pair in finer(config.benchmark.front.factors)
        ]
    return Contest(config=config, data=study.data, contenders=tuple(contenders), splits=SPLITS)


def summarise_front(study: Study, standing: Standing, *, with_finer: bool) -> dict[str, Any]:
    """Returns what summary.json holds.

    The reference of all hypervolumes of a split is success 0 at 1.1 times the largest cost and
    makespan among all points of that split; intervals keep it.
    """
    front = study.config.benchmark.front
    m = len(front.factors)
    kinds = {_ONE: slice(0, m), "separate": slice(m, 2 * m)}
    if with_finer:
        kinds["finer"] = slice(2 * m, None)
    result: dict[str, Any] = {
        "profile": study.profile,
        "seeds": list(study.seeds),
        "spread": front.spread,
        "timesteps": _timesteps(study),
        "factors": {
            kind: list(finer(front.factors) if kind == "finer" else front.factors) for kind in kinds
        },
    }
    for split in SPLITS:
        points = _points(standing, split)
        reference = reference_point(points) * [1.0, _MARGIN, _MARGIN]
        result[split] = {"reference": reference.tolist()} | {
            kind: {
                "points": points[of].tolist(),
                "on_front": pareto_mask(points[of]).tolist(),
                "hypervolume": hypervolume(points[of], reference),
                "return_mean": standing.measure(split, "return")[of].tolist(),
            }
            for kind, of in kinds.items()
        }
    _add_intervals(result, standing, kinds)
    return result


def _points(standing: Standing, split: str) -> FloatArray:
    """Returns float64 (C, 3): success, cost [USD] and makespan [s]."""
    names = ("success", "cost_usd", "latency_s")
    return np.stack([standing.measure(split, name) for name in names], axis=1)


def _add_intervals(result: dict[str, Any], standing: Standing, kinds: dict[str, slice]) -> None:
    """Adds the ratios of hypervolumes and the differences of returns, on test queries."""
    test = result["test"]
    reference = np.array(test["reference"])
    names = ("success", "cost_usd", "latency_s")
    points = np.stack([standing.resampled(name) for name in names], axis=1)  # (C, 3, R)
    volumes = {
        kind: np.array([hypervolume(drawn[of], reference) for drawn in np.moveaxis(points, 2, 0)])
        for kind, of in kinds.items()
    }
    for kind in kinds:
        test[kind]["ci95"] = interval(volumes[kind])
        if kind != "separate":
            test[kind]["ratio"] = _ratio(test[kind]["hypervolume"], test["separate"]["hypervolume"])
            test[kind]["ratio_ci95"] = interval(_ratio(volumes[kind], volumes["separate"]))
    returns = standing.resampled("return")
    one, separate = returns[kinds[_ONE]], returns[kinds["separate"]]
    means = [np.array(test[kind]["return_mean"]) for kind in (_ONE, "separate")]
    test["difference_mean"] = (means[0] - means[1]).tolist()
    test["difference_ci95"] = [interval(values) for values in one - separate]


def _ratio(a: Any, b: Any) -> Any:
    """Returns a / b; 1 where both are 0."""
    b = np.asarray(b, np.float64)
    return np.divide(a, b, out=np.ones_like(b), where=b > 0)[()]


def _timesteps(study: Study) -> dict[str, int]:
    """Returns the steps of a seed's trainings: of the one policy, and of all separate ones."""
    steps = []
    for variant in front_variants(study):
        path = variant.run_dir(study.output_dir, study.seeds[0]) / POLICY / "result.json"
        steps.append(int(json.loads(path.read_text())["timesteps"]))
    return {_ONE: steps[0], "separate": sum(steps[1:])}


def front_table(result: dict[str, Any]) -> Table:
    """Returns the test results as a table for the terminal."""
    table = Table(title=f"One policy for {len(result['factors'][_ONE])} preferences, test queries")
    for name in ("preference", "policy", "success", "USD", "makespan s", "return", "difference"):
        table.add_column(name, justify="left" if name in ("preference", "policy") else "right")
    test = result["test"]
    for index, (cost, latency) in enumerate(result["factors"][_ONE]):
        for kind in (_ONE, "separate"):
            success, usd, seconds = test[kind]["points"][index]
            low, high = test["difference_ci95"][index]
            difference = f"{test['difference_mean'][index]:+.3f} [{low:+.3f}, {high:+.3f}]"
            table.add_row(
                f"cost x {cost:g}, latency x {latency:g}" if kind == _ONE else "",
                kind,
                f"{success:.3f}",
                f"{usd:.5f}",
                f"{seconds:.2f}",
                f"{test[kind]['return_mean'][index]:.3f}",
                difference if kind == _ONE else "",
            )
    return table


def run_front(study: Study, *, with_finer: bool) -> dict[str, Any]:
    """Trains what is not trained yet, compares, and writes summary.json and front.png.

    Raises:
        OrchestAIError: settings or data are wrong, or a training failed.
    """
    variants = front_variants(study)
    train_variants(variants, study.output_dir, study.data, tables=False)
    standing = hold_contest(front_contest(study, variants, with_finer=with_finer))
    result = summarise_front(study, standing, with_finer=with_finer)
    text = json.dumps(result, indent=1) + "\n"
    write_whole(study.output_dir / SUMMARY, lambda path: path.write_text(text))
    plot_front(study.output_dir / PICTURE, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains, compares, and prints the result."""
    parser = study_parser("agents.benchmark.preference_front", __doc__)
    parser.add_argument(
        "--finer",
        action="store_true",
        help="evaluate the one policy between the preferences of benchmark.front too",
    )
    args = parser.parse_args(argv)
    with claim(args.output_dir):
        study = read_study(args)
        result = run_front(study, with_finer=args.finer)
    Console(width=max(Console().width, 110)).print(front_table(result))
    test, steps = result["test"][_ONE], result["timesteps"]
    low, high = test["ratio_ci95"]
    print(
        f"hypervolume on test queries: one policy / separate ones = {test['ratio']:.4f} "
        f"[{low:.4f}, {high:.4f}], at {steps[_ONE]} of {steps['separate']} steps a seed; "
        f"{args.output_dir / SUMMARY}, {args.output_dir / PICTURE}"
    )


if __name__ == "__main__":
    run_command(main)
