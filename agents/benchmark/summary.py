"""What summary.json says of every agent: means, intervals, and comparisons with the reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.benchmark.fronts import hypervolume, pareto_mask, reference_point
from agents.benchmark.resampling import MEASURES
from agents.benchmark.routing_scores import improvement_in_quality
from agents.benchmark.statistics import (
    FloatArray,
    bootstrap_interval,
    bootstrap_p,
    gap_closed,
    interquartile_mean,
    probability_of_improvement,
)
from agents.registry import BOUNDS, BUILDERS, NOT_AGENTS, RIVALS, SLOW

REFERENCE = "escalation"
"""The agent that differences are paired to."""
BOUND = "hindsight"
"""The bound whose distance to the reference is the gap."""
_AXES = ("success_rate", "cost_usd", "latency_s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluations:
    """All that was evaluated under one profile; agents with an error appear in `errors` only."""

    agents: tuple[str, ...]
    """Names, in the order of the report."""
    errors: Mapping[str, str]
    """Agent -> what went wrong, in one line."""
    points: Mapping[str, Mapping[str, dict[str, Any]]]
    """Agent -> split -> means; see workbench.points."""
    bound: Mapping[str, dict[str, Any]]
    """Agent -> means on fewer test workflows: of slow agents, and of those they are compared to."""
    replicates: Mapping[str, Mapping[str, FloatArray]]
    """Agent -> split -> float64 (replicates, 4, num_seeds): means of MEASURES at each place. A
    replicate has the same queries and seeds for all agents."""
    chosen: npt.NDArray[np.int64]
    """int64 (replicates, num_seeds); the seed at each place; see resampling.drawn_seeds."""

    def returns(self, name: str, split: str = "test") -> FloatArray:
        """Returns float64 (replicates,): mean returns."""
        places = self.replicates[name][split][:, MEASURES.index("return")]
        return np.asarray(places.mean(axis=1), np.float64)

    def runs(self, name: str, split: str = "test") -> FloatArray:
        """Returns float64 (replicates, num_seeds): mean return of each drawn seed on its own.

        The places of a replicate have different workflows, whose luck would pass for that of seeds.
        So a seed is above or below the others drawn by as much as on the workflows of the point
        estimates, which are the same for all seeds.
        """
        num_seeds = self.chosen.shape[1]
        # One number, where all seeds share an agent.
        per_seed = np.resize(self.points[name][split]["return_per_seed"], num_seeds)
        drawn = per_seed[self.chosen]
        beside_others = drawn - drawn.mean(axis=1, keepdims=True)
        return np.asarray(self.returns(name, split)[:, None] + beside_others, np.float64)

    def front_points(self, name: str) -> FloatArray:
        """Returns float64 (replicates, 3): success rate, cost [USD] and makespan [s] on test."""
        axes = [MEASURES.index(key) for key in ("success", "cost_usd", "latency_s")]
        return np.asarray(self.replicates[name]["test"][:, axes].mean(axis=2), np.float64)


def summarise(found: Evaluations) -> dict[str, Any]:
    """Returns what summary.json says of one profile.

    Returns:
        {agent: {train: {...}, test: {return_mean, ci95, ...}} or {error: text}, paired: {agent:
        {...}}, head_to_head: {agent: {other: {...}}}, front: {...}}; paired differences are agent -
        escalation table on test workflows, or agent - other, for trained and foreign agents. Slow
        agents have test only, without intervals.
    """
    summary: dict[str, Any] = {}
    paired: dict[str, Any] = {}
    for name in found.agents:
        if name in found.errors:
            summary[name] = {"error": found.errors[name]}
        elif name in SLOW:
            summary[name] = {"test": dict(found.bound[name]) | _share_of_bound(found, name)}
            if REFERENCE in found.bound:
                paired[name] = _bound_difference(found, name)
        else:
            summary[name] = _splits(found, name)
            if REFERENCE in found.points and name != REFERENCE:
                paired[name] = _difference(found, name, REFERENCE)
    rest = {"head_to_head": _head_to_head(found), "front": front_of({"": found})}
    return summary | {"paired": paired} | rest


def _splits(found: Evaluations, name: str) -> dict[str, Any]:
    splits = {
        split: means | _intervals(found, name, split) for split, means in found.points[name].items()
    }
    del splits["train"]["picks"]  # those on test workflows say enough
    if REFERENCE in found.points:
        splits["test"] |= _against_reference(found, name)
        splits["train_minus_test"] = _train_minus_test(found, name)
    return splits


def _intervals(found: Evaluations, name: str, split: str) -> dict[str, Any]:
    per_seed = np.array(found.points[name][split]["return_per_seed"])
    return {
        "ci95": bootstrap_interval(found.returns(name, split)),
        "return_iqm": float(interquartile_mean(per_seed)),
        "iqm_ci95": bootstrap_interval(interquartile_mean(found.runs(name, split))),
    }


def _against_reference(found: Evaluations, name: str) -> dict[str, Any]:
    """Returns the shares of gap and of wins; without the bound there is no gap."""
    wins = probability_of_improvement(
        *(np.array(found.points[n]["test"]["return_per_seed"]) for n in (name, REFERENCE))
    )
    resampled_wins = probability_of_improvement(found.runs(name), found.runs(REFERENCE))
    against: dict[str, Any] = {
        "probability_of_improvement": {
            "mean": float(wins),
            "ci95": bootstrap_interval(resampled_wins),
        }
    }
    if BOUND not in found.points:
        return against
    three = (name, REFERENCE, BOUND)
    means = (np.array(found.points[n]["test"]["return_mean"]) for n in three)
    share = float(gap_closed(*means))
    resampled = gap_closed(*(found.returns(n) for n in three))
    return against | {
        "gap_closed": {
            "mean": share if np.isfinite(share) else None,
            "ci95": bootstrap_interval(resampled),
        }
    }


def _train_minus_test(found: Evaluations, name: str) -> dict[str, Any]:
    """Returns how much better an agent is on training queries, alone and beside the reference."""

    def mean(of: str) -> float:
        points = found.points[of]
        return float(points["train"]["return_mean"] - points["test"]["return_mean"])

    def resampled(of: str) -> FloatArray:
        return found.returns(of, "train") - found.returns(of, "test")

    return {
        "mean": mean(name),
        "ci95": bootstrap_interval(resampled(name)),
        "minus": REFERENCE,
        "difference_mean": mean(name) - mean(REFERENCE),
        "difference_ci95": bootstrap_interval(resampled(name) - resampled(REFERENCE)),
    }


def _head_to_head(found: Evaluations) -> dict[str, Any]:
    """Returns what each trained or foreign agent has over each other one and over its rivals."""
    learned = [name for name in found.points if name not in BUILDERS]
    others = [name for name in RIVALS if name in found.points] + learned
    return {
        name: {other: _difference(found, name, other) for other in others if other != name}
        for name in learned
    }


def _difference(found: Evaluations, name: str, other: str) -> dict[str, Any]:
    test, reference = (found.points[n]["test"]["return_mean"] for n in (name, other))
    differences = found.returns(name) - found.returns(other)
    return {
        "minus": other,
        "difference_mean": test - reference,
        "ci95": bootstrap_interval(differences),
        "bootstrap_p": bootstrap_p(differences),
    }


def _bound_difference(found: Evaluations, name: str) -> dict[str, Any]:
    mean, reference = (found.bound[n]["return_mean"] for n in (name, REFERENCE))
    return {"minus": REFERENCE, "difference_mean": mean - reference, "ci95": None}


def _share_of_bound(found: Evaluations, name: str) -> dict[str, Any]:
    if not {REFERENCE, BOUND} <= set(found.bound):
        return {}
    three = (np.array(found.bound[n]["return_mean"]) for n in (name, REFERENCE, BOUND))
    share = float(gap_closed(*three))
    return {"gap_closed": {"mean": share if np.isfinite(share) else None, "ci95": None}}


def front_of(
    profiles: Mapping[str, Evaluations], *, is_single_call: bool = False
) -> dict[str, Any]:
    """Returns the Pareto front of agents over success, cost and makespan on test workflows.

    With several profiles an agent has a point for each, and its hypervolume is that of all of them.
    Bounds take no part, and neither do agents that failed under a profile. Where every workflow is
    one call, an agent is a router whose settings are the profiles, and has RouterBench's AIQ.

    Args:
        profiles: profile -> what was evaluated.
        is_single_call: every workflow has one subtask.
    Returns:
        reference: the point that counts as worst, success 0 with the largest cost and makespan of
        all; points: [{agent, profile, is_front}]; hypervolume and ci95 of all together; of_agents:
        {agent: {hypervolume, ci95, and aiq, aiq_ci95 of routers}}. The reference and the range of
        costs stay put over replicates.
    """
    names = [
        name
        for name in next(iter(profiles.values())).points
        if name not in BOUNDS and all(name in found.points for found in profiles.values())
    ]
    if not names:
        return {}
    owners = [(name, profile) for name in names for profile in profiles]
    points = np.array(
        [[profiles[p].points[name]["test"][key] for key in _AXES] for name, p in owners]
    )
    resampled = np.stack([profiles[p].front_points(name) for name, p in owners], axis=1)
    measures = [_volume(points)]
    if is_single_call and len(profiles) > 1 and np.ptp(points[:, 1]) > 0:
        measures.append(_quality(points))

    def measured(rows: list[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, interval, measure in measures:
            found[name] = measure(points[rows])
            replicates = np.array([measure(replicate[rows]) for replicate in resampled])
            found[interval] = bootstrap_interval(replicates)
        return found

    together = measured(list(range(len(owners))))
    return {
        "reference": dict(zip(_AXES, reference_point(points).tolist(), strict=True)),
        "points": [
            {"agent": name, "profile": profile, "is_front": bool(is_front)}
            for (name, profile), is_front in zip(owners, pareto_mask(points), strict=True)
        ],
        "hypervolume": together["hypervolume"],
        "ci95": together["ci95"],
        "of_agents": {
            name: measured([i for i, (of, _) in enumerate(owners) if of == name]) for name in names
        },
    }


_Measure = tuple[str, str, Callable[[FloatArray], float]]
"""Key, key of the interval, and the measure of points."""


def _volume(points: FloatArray) -> _Measure:
    worst = reference_point(points)
    return "hypervolume", "ci95", lambda of: hypervolume(of, worst)


def _quality(points: FloatArray) -> _Measure:
    least, most = float(points[:, 1].min()), float(points[:, 1].max())
    return (
        "aiq",
        "aiq_ci95",
        lambda of: improvement_in_quality(of[:, 1], of[:, 0], least=least, most=most),
    )


def agents_of(results: Mapping[str, Any]) -> list[str]:
    """Returns the agents of one profile's results that made no error, in their order."""
    return [name for name, of in results.items() if name not in NOT_AGENTS and "error" not in of]
