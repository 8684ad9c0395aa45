"""Scores of a planned workflow against the true one, after matching their subtasks by text."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Link = tuple[int, int]
"""(i, j): subtask j needs the result of subtask i."""

MATCH_THRESHOLD = 0.6
"""Cosine of two subtasks' sentence embeddings from which they may be matched. The evaluation of
WorFBench (Qiao et al. 2024, arXiv:2410.07869; `match_node` of its code) matches so that the total
similarity is the largest, above 0.6 of all-mpnet-base-v2; ours is 0.6 of all-MiniLM-L6-v2."""

_TIE_BREAK = 1e-5
"""Largest bonus of a pair for standing at the same place: above the rounding of float32 cosines,
below any difference in meaning. Without it a plan with two equal texts may miss itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlanScore:
    """How well one planned workflow agrees with the true one."""

    node_f1: float
    """0..1; F1 of the subtasks (the published metric's name), 1.0 where none differs."""
    edge_f1: float
    """0..1; F1 of the links between matched subtasks; 1.0 where neither plan has a link."""
    count_error: float
    """>= 0; absolute difference of the numbers of subtasks."""
    exact: float
    """1.0 where all subtasks are matched and all links are equal, else 0.0."""
    valid: float
    """1.0 where the planned links form a DAG over at least one subtask, else 0.0."""


def f1(num_matched: int, num_predicted: int, num_gold: int) -> float:
    """Returns the F1 of a prediction, 0..1; 1.0 where nothing was there and nothing predicted."""
    total = num_predicted + num_gold
    return 2 * num_matched / total if total else 1.0


def match_subtasks(
    similarity: npt.NDArray[np.floating], threshold: float = MATCH_THRESHOLD
) -> list[tuple[int, int]]:
    """Matches subtasks one to one so that the total similarity of the pairs is the largest.

    Of matchings with the same total it takes the one whose pairs stand at the nearest places.

    Args:
        similarity: float (P, G); of each planned to each true subtask; P or G may be 0.
        threshold: > 0; pairs below it are never matched.
    Returns:
        Pairs (planned, true), by planned subtask.
    """
    if not similarity.size:
        return []
    places = np.abs(np.arange(similarity.shape[0])[:, None] - np.arange(similarity.shape[1]))
    allowed = similarity >= threshold
    bonus = _TIE_BREAK * (1 - places / max(similarity.shape))
    gain = np.where(allowed, similarity + bonus, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    kept = allowed[rows, columns]
    return list(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))


def score_plan(
    similarity: npt.NDArray[np.floating],
    predicted_links: Collection[Link],
    gold_links: Collection[Link],
    threshold: float = MATCH_THRESHOLD,
) -> PlanScore:
    """Scores one planned workflow.

    A planned link counts when both its ends are matched and the pair they are matched to is a
    link of the true workflow. Repeated links count once.

    Args:
        similarity: float (P, G); of each planned to each true subtask.
        predicted_links: pairs over 0..P-1.
        gold_links: pairs over 0..G-1.
        threshold: > 0; similarity from which subtasks may be matched.
    """
    num_predicted, num_gold = similarity.shape
    predicted, gold = set(predicted_links), set(gold_links)
    partner = dict(match_subtasks(similarity, threshold))
    found = sum((partner.get(i), partner.get(j)) in gold for i, j in predicted)
    node_f1 = f1(len(partner), num_predicted, num_gold)
    edge_f1 = f1(found, len(predicted), len(gold))
    return PlanScore(
        node_f1=node_f1,
        edge_f1=edge_f1,
        count_error=float(abs(num_predicted - num_gold)),
        exact=float(node_f1 == 1.0 and edge_f1 == 1.0),
        valid=float(num_predicted > 0 and _is_dag(num_predicted, predicted)),
    )


def _is_dag(num_subtasks: int, links: set[Link]) -> bool:
    """Tells whether links stay within 0..num_subtasks-1 and form no cycle."""
    if not all(0 <= i < num_subtasks and 0 <= j < num_subtasks for i, j in links):
        return False
    if all(i < j for i, j in links):
        return True
    rest = set(range(num_subtasks))
    while rest:
        blocked = {j for i, j in links if i in rest}
        if rest <= blocked:
            return False
        rest &= blocked
    return True
