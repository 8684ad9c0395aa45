"""Scores of planners on a data set, by source and on plans that are no chain, with intervals."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from orchestai_env.planning.planner import Planner, plans_of
from orchestai_env.workflow import Workflow
from supervised.intervals import mean_intervals
from supervised.plans.baselines import chain_links
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.metrics import MATCH_THRESHOLD, PlanScore, score_plan
from supervised.texts.encoder import MemoEncoder

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FIGURES = tuple(field.name for field in dataclasses.fields(PlanScore))
POOLED, NON_CHAIN = "pooled", ", non-chain"
"""Name of the group of all workflows; end of the name of a group's part that is no chain."""

_AT_ONCE = 32
"""Instructions planned at once, between two steps of a progress bar."""

_NUMBERED = re.compile(r"(.*[^\W\d_])\W*_?\d+")
"""An id that is a name and a number, such as worfbench/lumos_17 or nestful/executable/5."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannerScores:
    """Scores of one planner on R workflows, trained with each of S seeds (S = 1: no seeds)."""

    figures: FloatArray
    """float64 (S, R, F); the F fields of PlanScore, in the order of FIGURES."""
    confidence: FloatArray
    """float64 (S, R), 0..1."""


def score_planners(
    planners: Sequence[Planner],
    dataset: WorkflowDataset,
    encoder: MemoEncoder,
    on_planned: Callable[[int], None] = lambda count: None,
) -> PlannerScores:
    """Plans every instruction of a data set and compares the plans with its workflows.

    Args:
        planners: one for each seed.
        dataset: R workflows; they are the truth.
        encoder: of the texts of subtasks; their cosines say which may be matched.
        on_planned: called with the number of instructions that were just planned.
    Raises:
        PlanningError: a planner cannot plan.
    """
    golden = dataset.workflows
    figures = np.empty((len(planners), len(golden), len(FIGURES)))
    confidence = np.empty((len(planners), len(golden)))
    for seed, planner in enumerate(planners):
        for start in range(0, len(golden), _AT_ONCE):
            batch = golden[start : start + _AT_ONCE]
            plans = plans_of(planner, [workflow.instruction for workflow in batch])
            _embed_at_once([plan.workflow for plan in plans] + list(batch), encoder)
            for row, (plan, gold) in enumerate(zip(plans, batch, strict=True), start):
                score = score_workflow(plan.workflow, gold, encoder)
                figures[seed, row] = [getattr(score, name) for name in FIGURES]
                confidence[seed, row] = plan.confidence
            on_planned(len(batch))
    return PlannerScores(figures=figures, confidence=confidence)


def score_workflow(
    planned: Workflow, gold: Workflow, encoder: MemoEncoder, threshold: float = MATCH_THRESHOLD
) -> PlanScore:
    """Scores one planned workflow against the true one."""
    wanted = encoder.embed([subtask.name for subtask in gold.subtasks])
    similarity = np.zeros((0, len(wanted)), np.float32)
    if planned.subtasks:
        similarity = encoder.embed([subtask.name for subtask in planned.subtasks]) @ wanted.T
    return score_plan(similarity, planned.links, gold.links, threshold)


def _embed_at_once(workflows: Sequence[Workflow], encoder: MemoEncoder) -> None:
    """Lets the encoder see all new texts as one batch."""
    encoder.embed(sorted({subtask.name for flow in workflows for subtask in flow.subtasks}))


def groups_of(dataset: WorkflowDataset) -> dict[str, BoolArray]:
    """Returns which workflows are scored together: all, each source and each part of a source.

    Parts are told by ids that are source, name and number. All and each source are followed by
    their workflows that are no chain, if there are such and others: a chain links each subtask to
    the next and has no other link, so a single subtask is one.

    Returns:
        Group -> bool (R,).
    """
    sources, workflows = np.array(dataset.sources), dataset.workflows
    named = zip(workflows, dataset.sources, strict=True)
    parts = np.array([_part(workflow.id, source) for workflow, source in named])
    branched = ~np.array([is_chain(workflow) for workflow in workflows])
    result: dict[str, BoolArray] = {}
    for source in (POOLED, *sorted(set(dataset.sources) - {""})):
        rows = np.ones(len(dataset), np.bool_) if source == POOLED else sources == source
        result[source] = rows
        if 0 < (rows & branched).sum() < rows.sum():
            result[source + NON_CHAIN] = rows & branched
        own = sorted(set(parts[rows].tolist()) - {""})
        if source != POOLED and len(own) > 1:
            result |= {part: parts == part for part in own}
    return result


def _part(workflow_id: str, source: str) -> str:
    """Returns what is before the number in an id that begins with its source; else nothing."""
    found = _NUMBERED.fullmatch(workflow_id)
    return found[1] if found and found[1].startswith(f"{source}/") else ""


def is_chain(workflow: Workflow) -> bool:
    """Tells whether each subtask needs the one before it, and nothing else."""
    return set(workflow.links) == set(chain_links(len(workflow.subtasks)))


def summarise(
    scores: Mapping[str, PlannerScores], groups: Mapping[str, BoolArray], baseline: str
) -> dict[str, Any]:
    """Returns the figures of planners by group, as plain values.

    Args:
        scores: planner -> its scores on R workflows.
        groups: group -> bool (R,).
        baseline: planner that the others are compared with, workflow by workflow.
    Returns:
        Group -> {num_workflows, planners: planner -> {figure: {mean, low, high}, confidence: mean,
        confidence_correlation: Spearman's with node F1, None where either is constant,
        minus_baseline: {figure: {mean, low, high}}, not for the baseline itself}}.
    """
    return {
        group: {
            "num_workflows": int(rows.sum()),
            "planners": {
                name: _figures(own, rows, None if name == baseline else scores[baseline])
                for name, own in scores.items()
            },
        }
        for group, rows in groups.items()
    }


def _figures(own: PlannerScores, rows: BoolArray, base: PlannerScores | None) -> dict[str, Any]:
    figures = own.figures[:, rows]
    result: dict[str, Any] = _named(figures)
    result["confidence"] = float(own.confidence[:, rows].mean())
    result["confidence_correlation"] = _mean_correlation(own.confidence[:, rows], figures[..., 0])
    if base is not None:
        result["minus_baseline"] = _named(figures - base.figures[:, rows])
    return result


def _named(values: FloatArray) -> dict[str, Any]:
    found = zip(FIGURES, mean_intervals(values), strict=True)
    return {name: dataclasses.asdict(interval) for name, interval in found}


def _mean_correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Returns the mean over seeds of Spearman's rank correlation; None where one is constant."""
    if any(np.ptp(row) == 0 for row in (*a, *b)):
        return None
    return float(np.mean([spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]))
