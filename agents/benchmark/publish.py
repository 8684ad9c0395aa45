"""Publishing a comparison: summary.json, the pictures, both pages, and tables on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.benchmark.comparison import evaluate_agents
from agents.benchmark.html_report import write_html
from agents.benchmark.plots import (
    plot_cost_success,
    plot_gap_closed,
    plot_learning_curves,
    plot_makespan_success,
    plot_pick_shares,
)
from agents.benchmark.report import (
    FIGURES,
    console_table,
    figure_path,
    schedule_path,
    write_report,
)
from agents.benchmark.schedules import write_schedules
from agents.benchmark.summary import REFERENCE, agents_of, front_of, summarise
from agents.benchmark.words import failures
from agents.benchmark.workbench import ComparisonPlan
from agents.checkpoint import write_whole
from agents.config import profile_weights
from orchestai_env.errors import OrchestAIError


class AgentsFailedError(OrchestAIError):
    """Agents of a benchmark failed; the others' results are written."""


def compare_and_publish(plans: Sequence[ComparisonPlan], output_dir: Path) -> dict[str, Any]:
    """Compares under every profile, and writes and prints what was found.

    Args:
        plans: one per profile; the first is the main one.
        output_dir: gets summary.json, report.md, report.html and the pictures.
    Returns:
        What summary.json holds: the main profile's results, the others' under "profiles", and the
        fronts over all under "all_profiles".
    Raises:
        AgentsFailedError: some agents failed; raised last, with all results written.
        OrchestAIError: the settings or the data are wrong, or a worker process died.
    """
    evaluations = {plan.profile: evaluate_agents(plan) for plan in plans}
    found = {profile: summarise(of) for profile, of in evaluations.items()}
    source = plans[0].config.source
    is_single_call = source is not None and source.max_subtasks == 1
    fronts = front_of(evaluations, is_single_call=is_single_call) if len(plans) > 1 else {}
    main, *others = found
    summary = found[main] | {"profiles": {profile: found[profile] for profile in others}}
    summary |= {"all_profiles": fronts} if fronts else {}
    text = json.dumps(summary, indent=1) + "\n"
    write_whole(output_dir / "summary.json", lambda path: path.write_text(text))
    for plan in plans:
        draw(plan, found[plan.profile], output_dir)
    weights = {
        plan.profile: profile_weights(plan.config, plan.config_path, plan.profile) for plan in plans
    }
    write_report(output_dir / "report.md", found, weights, plans[0].config, fronts)
    write_html(output_dir / "report.html", found, weights, plans[0].config, fronts)
    for profile, results in found.items():
        # At fewer columns rich would cut figures off; a narrow terminal wraps the lines instead.
        Console(width=max(Console().width, 122)).print(console_table(profile, results))
    _report_failures(found, output_dir)
    return summary


def draw(plan: ComparisonPlan, results: Mapping[str, Any], folder: Path) -> None:
    """Draws all pictures of one profile anew."""
    names = agents_of(results)
    for kind in FIGURES:  # one that is not drawn this time would be of an earlier call
        figure_path(folder, kind, plan.profile).unlink(missing_ok=True)
    plot_learning_curves(
        figure_path(folder, "learning_curve", plan.profile), plan.run_dirs, plan.profile
    )
    if not names:
        return
    for kind, plot in (
        ("cost_success", plot_cost_success),
        ("makespan_success", plot_makespan_success),
        ("gap_closed", plot_gap_closed),
        ("pick_shares", plot_pick_shares),
    ):
        plot(figure_path(folder, kind, plan.profile), results, plan.profile)
    reference = REFERENCE if REFERENCE in names else names[0]
    pictures = {name: schedule_path(folder, plan.profile, name) for name in names}
    write_schedules(plan, pictures, reference)


def _report_failures(found: Mapping[str, Mapping[str, Any]], output_dir: Path) -> None:
    texts = [
        f"{name} ({profile}): {error}"
        for profile, results in found.items()
        for name, error in failures(results).items()
    ]
    if texts:
        raise AgentsFailedError(
            f"agents failed, the others' results are in {output_dir}: {'; '.join(texts)}"
        )
