"""Tables of a benchmark's report, as text: what they hold is the same on every page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from agents.benchmark.pick_tables import pick_rows
from agents.benchmark.summary import BOUND, REFERENCE, agents_of
from agents.registry import BOUNDS, SLOW
from orchestai_env.reward import REWARD_TERMS

COLUMNS = (
    "agent",
    "test return",
    "train",
    "success",
    "USD/1000",
    "seconds",
    "gap closed",
    f"minus {REFERENCE}",
)
"""Columns of the main table."""


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def agent_rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row of text per agent, in the order of COLUMNS; one that failed has a name only."""
    rows: list[tuple[str, ...]] = []
    for name, found in results.items():
        if "error" in found:
            rows.append((name, "failed", *[""] * (len(COLUMNS) - 2)))
        elif name in agents_of(results):
            rows.append(_agent_row(name, found, results["paired"].get(name)))
    return rows


def _agent_row(
    name: str, found: Mapping[str, Any], paired: Mapping[str, Any] | None
) -> tuple[str, ...]:
    test = found["test"]
    return (
        name,
        _figure(test["return_mean"], test.get("ci95"), ".2f"),
        f"{found['train']['return_mean']:.2f}" if "train" in found else "",
        f"{100 * test['success_rate']:.0f} %",
        f"{1000 * test['cost_usd']:.2f}",
        f"{test['latency_s']:.1f}",
        _share(test.get("gap_closed")),
        _paired(paired) if paired else "",
    )


def _figure(mean: float, ends: Sequence[float] | None, form: str) -> str:
    return f"{mean:{form}}" + (f" [{ends[0]:{form}}, {ends[1]:{form}}]" if ends else "")


def _share(share: Mapping[str, Any] | None, *, with_ends: bool = False) -> str:
    if share is None or share["mean"] is None:
        return ""
    text = f"{100 * share['mean']:z.0f} %"  # z: never -0
    if with_ends and share["ci95"]:
        low, high = share["ci95"]
        text += f" [{100 * low:.0f}, {100 * high:.0f}]"
    return text


def result_table(results: Mapping[str, Any]) -> TextTable:
    """Returns the main table: what every agent reaches, beside the reference."""
    rows = agent_rows(results)
    note = (
        "Means per workflow, on test queries but for the column train, with 95 % intervals in "
        "brackets. USD/1000: cost of 1,000 workflows; seconds: makespan; gap closed: per cent of "
        f"the way from {REFERENCE} to {BOUND}."
    )
    slow = [name for name in agents_of(results) if name in SLOW]
    if slow:
        note += (
            f" {' and '.join(slow)}: on the first test workflows only, without intervals, and "
            f"compared with what the others earn on these{_reference_there(slow[0], results)}."
        )
    return TextTable("Returns, success, cost and makespan", COLUMNS, rows, note)


def _reference_there(slow: str, results: Mapping[str, Any]) -> str:
    """Returns the return of the reference on the workflows of a slow agent, in brackets."""
    paired = results["paired"].get(slow)
    if paired is None:
        return ""
    earned = results[slow]["test"]["return_mean"] - paired["difference_mean"]
    return f" ({REFERENCE} {earned:.2f})"


def certainty_table(results: Mapping[str, Any]) -> TextTable:
    """Returns how surely every agent differs from the reference."""
    rows = []
    for name in agents_of(results):
        test, paired = results[name]["test"], results["paired"].get(name, {})
        if "return_iqm" not in test:
            continue
        wins = test.get("probability_of_improvement")
        p_value = paired.get("bootstrap_p")
        volume = results["front"].get("of_agents", {}).get(name)
        rows.append(
            (
                name,
                _figure(test["return_iqm"], test["iqm_ci95"], ".2f"),
                _figure(wins["mean"], wins["ci95"], ".2f") if wins else "",
                "" if p_value is None else f"{p_value:.3f}",
                _share(test.get("gap_closed"), with_ends=True),
                _figure(volume["hypervolume"], volume["ci95"], ".3f") if volume else "",
            )
        )
    columns = (
        "agent",
        "interquartile mean",
        f"P(above {REFERENCE})",
        "p",
        "gap closed",
        "hypervolume",
    )
    note = (
        "Interquartile mean over seeds; P: share of pairs of runs in which the agent is better, a "
        "tie counts half; p: two-sided bootstrap p value of the paired difference of returns, for "
        "this agent alone (of many agents some are below 0.05 by chance); hypervolume: share of "
        "the box between the worst cost and makespan of all agents and the ideal (success for "
        "nothing, at once) that the agent alone dominates."
    )
    return TextTable("How surely", columns, rows, note)


def head_to_head_table(results: Mapping[str, Any]) -> TextTable:
    """Returns what trained and foreign agents have over each other and over their rivals."""
    contests: Mapping[str, Mapping[str, Any]] = results["head_to_head"]
    others = list(dict.fromkeys(other for of in contests.values() for other in of))
    rows = [
        (name, *(_paired(of[other]) if other in of else "" for other in others))
        for name, of in contests.items()
    ]
    columns = ("agent", *(f"minus {other}" for other in others))
    note = (
        "Paired differences of returns on test workflows. shuffled draws its picks at random, with "
        "the shares per task type and attempt of the agent that it copies."
    )
    return TextTable("Head to head", columns, rows, note)


def _paired(difference: Mapping[str, Any]) -> str:
    return _figure(difference["difference_mean"], difference["ci95"], "+.2f")


def routing_table(results: Mapping[str, Any]) -> TextTable:
    """Returns how well agents tell which single calls need the strong worker of two."""
    found = {name: results[name]["test"].get("routing") for name in agents_of(results)}
    rows = [(name, _figure(of["apgr"], of["ci95"], ".3f")) for name, of in found.items() if of]
    pair = next((of for of in found.values() if of), {"weak": "", "strong": ""})
    note = (
        f"APGR (RouteLLM): share of the gap between {pair['weak']} and {pair['strong']} recovered, "
        "averaged over how many queries go to the stronger one; a random order has 0.5. Intervals "
        "resample queries."
    )
    return TextTable("Routing between two workers", ("agent", "APGR"), rows, note)


def transfer_table(results: Mapping[str, Any]) -> TextTable:
    """Returns how much better agents are on training queries than on test queries."""
    rows = []
    for name in agents_of(results):
        gap = results[name].get("train_minus_test")
        if gap is not None:
            beside = _figure(gap["difference_mean"], gap["difference_ci95"], "+.2f")
            rows.append((name, _figure(gap["mean"], gap["ci95"], "+.2f"), beside))
    columns = ("agent", "train minus test", f"less that of {REFERENCE}")
    note = "An agent that learned its training queries by heart shows a large positive figure."
    return TextTable("Training and test queries", columns, rows, note)


def terms_table(results: Mapping[str, Any]) -> TextTable:
    """Returns what the returns are made of, and how agents keep to the rules."""
    rows = []
    for name in agents_of(results):
        test = results[name]["test"]
        terms = (f"{test[f'reward_{term}']:+.2f}" for term in REWARD_TERMS)
        valid = f"{100 * test['validity']:.0f} %"
        rows.append((name, *terms, f"{test['calls']:.1f}", valid, f"{test['masked_actions']:.1f}"))
    columns = ("agent", *REWARD_TERMS, "calls", "valid", "masked actions")
    note = "Means per test workflow; the first four sum to the return."
    return TextTable("Terms of the reward", columns, rows, note)


def tables_of(results: Mapping[str, Any]) -> list[TextTable]:
    """Returns all tables of agents under one profile; those without a row are left out."""
    makers = (
        result_table,
        certainty_table,
        head_to_head_table,
        routing_table,
        transfer_table,
        terms_table,
    )
    return [table for make in makers if (table := make(results)).rows]


def pick_table(name: str, results: Mapping[str, Any]) -> TextTable:
    """Returns which workers an agent calls, by task type and attempt."""
    picks = results[name]["test"]["picks"]
    num_attempts = len(next(iter(picks.values())))
    columns = ("task type", *(f"attempt {a + 1}" for a in range(num_attempts)))
    return TextTable(name + (" (bound)" if name in BOUNDS else ""), columns, pick_rows(picks))


def front_table(front: Mapping[str, Any]) -> TextTable:
    """Returns the hypervolumes over all profiles together, and AIQ where calls are single."""
    columns: tuple[str, ...] = ("agent", "hypervolume")
    note = (
        "Every agent has a point (success, cost, makespan) per profile; the hypervolume is the "
        "share of the box between the worst of all and the ideal that its points dominate."
    )
    has_quality = any("aiq" in of for of in front["of_agents"].values())
    if has_quality:
        columns += ("AIQ",)
        note += (
            " AIQ (RouterBench): mean success over the range of costs, along the non-decreasing "
            "convex hull of an agent's points."
        )
    rows = []
    together = {"all together": {key: front[key] for key in ("hypervolume", "ci95")}}
    for name, of in (front["of_agents"] | together).items():
        row: tuple[str, ...] = (name, _figure(of["hypervolume"], of["ci95"], ".3f"))
        if has_quality:
            row += (_figure(of["aiq"], of["aiq_ci95"], ".3f") if "aiq" in of else "",)
        rows.append(row)
    return TextTable("Fronts over all profiles", columns, rows, note)
