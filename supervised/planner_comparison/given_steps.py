"""Links alone: planners get the true subtasks, shuffled, and say which depends on which."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orchestai_env.workflow import Workflow
from supervised.intervals import mean_intervals
from supervised.planner.search import acyclic_links
from supervised.planner_comparison.scores import NON_CHAIN, POOLED, is_chain
from supervised.plans.baselines import chain_links
from supervised.plans.metrics import Link, f1

LEARNED, CHAIN, INDEPENDENT = "learned", "chain", "independent"


class LinkPlanner(Protocol):
    """What says how likely each link between given subtasks is."""

    def link_probabilities(
        self, instruction: str, texts: Sequence[str]
    ) -> npt.NDArray[np.floating]:
        """Returns float (n, n), 0..1; [i, j] = chance that subtask j needs subtask i."""


def score_given_steps(
    planners: Sequence[LinkPlanner], workflows: Sequence[Workflow]
) -> dict[str, Any]:
    """Scores planned links between the true subtasks of workflows.

    The planner sees the subtasks in the order of the file, as the chain does. That order is not
    sorted by links; how often it happens to be is reported, since it gives links away.

    Args:
        planners: one for each seed.
        workflows: subtasks in the order of their file, not sorted.
    Returns:
        {written_in_order: share of the workflows whose links all point forward in the file, and
        group -> {num_workflows, edge_f1 of learned, chain and independent, and of learned minus
        each of the others: {mean, low, high}}}. Groups are pooled and, if there are chains too,
        its part that is no chain.
    """
    values = {
        LEARNED: np.array([[_f1_of(p, flow) for flow in workflows] for p in planners]),
        CHAIN: np.array([[_f1(chain_links(len(w.subtasks)), w) for w in workflows]]),
        INDEPENDENT: np.array([[_f1((), flow) for flow in workflows]]),
    }
    branched = np.array([not is_chain(flow) for flow in workflows])
    groups = {POOLED: np.ones(len(workflows), np.bool_), POOLED + NON_CHAIN: branched}
    result: dict[str, Any] = {"written_in_order": float(np.mean([_forward(w) for w in workflows]))}
    for group, rows in groups.items():
        if group != POOLED and not 0 < rows.sum() < len(rows):
            continue
        own = {name: scores[:, rows] for name, scores in values.items()}
        gains = {
            f"{LEARNED} minus {name}": own[LEARNED] - own[name] for name in (CHAIN, INDEPENDENT)
        }
        result[group] = {
            "num_workflows": int(rows.sum()),
            "edge_f1": {
                name: dataclasses.asdict(mean_intervals(scores[..., None])[0])
                for name, scores in (own | gains).items()
            },
        }
    return result


def _f1_of(planner: LinkPlanner, workflow: Workflow) -> float:
    texts = [subtask.name for subtask in workflow.subtasks]
    return _f1(acyclic_links(planner.link_probabilities(workflow.instruction, texts)), workflow)


def _f1(links: Sequence[Link], workflow: Workflow) -> float:
    planned, gold = set(links), set(workflow.links)
    return f1(len(planned & gold), len(planned), len(gold))


def _forward(workflow: Workflow) -> bool:
    return all(i < j for i, j in workflow.links)
