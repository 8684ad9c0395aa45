"""The loss of the planner: cross-entropies of what it predicts, and a measure of cycles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from orchestai_env.errors import DataError
from supervised.plans.dataset import IGNORED, PlanBatch


def compute_supervised_loss(
    outputs: Mapping[str, Any], targets: PlanBatch, lambda_dag: float = 0.3
) -> dict[str, Tensor]:
    """Compares what a planner gave with the plans it should have given.

    Every part is a mean over the labels that exist, and 0 where none does; padding neither counts
    nor gets gradients.

    Args:
        outputs: for B instructions and plans of up to N subtasks, of which the first of each row
            are meant by its target:
            task_types: float (B, N, K); logits.
            model_selections: float (B, N, W); logits; W may be 0.
            workflow_graph: edge_logits, float (B, N, N), [b, i, j] that j depends on i; adjacency,
                float (B, N, N) in [0, 1], the sigmoid of these.
            stop_logits: float (B, N); logit that the plan has ended before subtask i. Never asked
                for i = 0, as every plan has a subtask, nor behind its end.
            text_log_probs: float (B, N, C), optional; log-probabilities of candidate texts.
            text_weights: float (B, N, C), with text_log_probs; how right each candidate is; rows
                sum to 1, or are 0 where no candidate is right.
        targets: B plans of at most N subtasks.
        lambda_dag: weight of the DAG loss.
    Returns:
        scalars: type_loss, worker_loss, edge_loss, stop_loss, text_loss if there are candidates,
        their sum ce_loss, dag_loss, and total_loss = ce_loss + lambda_dag * dag_loss.
    Raises:
        DataError: a plan has more than N subtasks.
    """
    stop_logits = _at_least_float32(outputs["stop_logits"])
    targets_size, size = targets.subtask_mask.shape[1], stop_logits.shape[1]
    if targets_size > size and int(targets.num_subtasks.max()) > size:
        raise DataError(
            f"expected plans of at most {size} subtasks, as the planner's outputs, got one of "
            f"{int(targets.num_subtasks.max())}; leave it out or raise max_subtasks"
        )
    n = min(targets_size, size)
    exists = targets.subtask_mask[:, :n]
    graph = outputs["workflow_graph"]
    losses = {
        "type_loss": _cross_entropy(outputs["task_types"][:, :n], targets.task_types[:, :n]),
        "worker_loss": _cross_entropy(
            outputs["model_selections"][:, :n], targets.model_selections[:, :n]
        ),
        "edge_loss": _edge_loss(
            graph["edge_logits"][:, :n, :n], targets.adjacency[:, :n, :n], exists
        ),
        "stop_loss": _stop_loss(stop_logits, targets.num_subtasks),
    }
    if "text_log_probs" in outputs:
        losses["text_loss"] = _text_loss(
            outputs["text_log_probs"][:, :n], outputs["text_weights"][:, :n], exists
        )
    losses["ce_loss"] = torch.stack(list(losses.values())).sum()
    losses["dag_loss"] = dag_loss(graph["adjacency"][:, :n, :n], exists)
    losses["total_loss"] = losses["ce_loss"] + lambda_dag * losses["dag_loss"]
    return losses


def dag_loss(adjacency: Tensor, subtask_mask: Tensor) -> Tensor:
    """Measures self-loops and cycles among the subtasks that exist.

    Args:
        adjacency: float (B, N, N) in [0, 1]; soft; what padding holds does not matter.
        subtask_mask: bool (B, N); True where a subtask exists, the first ones of each row.
    Returns:
        scalar >= 0: mean over the batch of the self-loops per subtask plus the acyclicity; exactly
        0 when no cycle has a weight above 0.
    """
    num_subtasks = subtask_mask.sum(1)
    kept = torch.where(_pairs(subtask_mask), _at_least_float32(adjacency), 0.0)
    self_loops = kept.diagonal(dim1=1, dim2=2).sum(1) / num_subtasks
    return (self_loops + acyclicity(kept, num_subtasks)).mean()


def acyclicity(adjacency: Tensor, num_subtasks: Tensor | None = None) -> Tensor:
    """Returns how far graphs are from having no cycle.

    NOTEARS (Zheng et al. 2018, arXiv 1803.01422) takes h(A) = tr(exp(A o A)) - d. Here it is
    summed as h = sum over k = 1..d of tr((A o A)^k) / k!, as in the polynomials of DAG-GNN (Yu et
    al. 2019, arXiv 1904.10098): a cycle has at most d subtasks, so later terms find none that these
    miss. Subtracting d from torch.linalg.matrix_exp loses cycles of 11 subtasks and more to the
    rounding of float32, and log-determinants (DAGMA) are not exactly 0 on a DAG. As h grows like
    exp(d), the result is log(1 + h / d): h per subtask while that is small, and below d for any
    graph.

    Args:
        adjacency: float (B, N, N) in [0, 1]; 0 in padding.
        num_subtasks: int64 (B,), 1..N; d; None takes N.
    Returns:
        float (B,), in [0, d): exactly 0 on a DAG, > 0 for a cycle (in float32 a cycle of 20
        subtasks gives 4e-19, since k! grows fast). All weights 0.99 give 16 for 20 subtasks.
    """
    size = adjacency.shape[-1]
    if num_subtasks is None:
        num_subtasks = torch.full(adjacency.shape[:1], size, device=adjacency.device)
    # Mixed precision would multiply in float16, which ends at 65,504.
    with torch.autocast(adjacency.device.type, enabled=False):
        squared = adjacency.square()
        power = squared
        h = squared.diagonal(dim1=1, dim2=2).sum(1)
        for k in range(2, size + 1):
            power = power @ squared / k
            trace = power.diagonal(dim1=1, dim2=2).sum(1)
            h = h + torch.where(k <= num_subtasks, trace, 0.0)
        return torch.log1p(h / num_subtasks)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean over labels that are not IGNORED of logits (B, n, C)."""
    logits = _at_least_float32(logits)
    if logits.shape[-1] == 0:
        return logits.sum()
    is_label = labels != IGNORED
    kept = torch.where(is_label.unsqueeze(-1), logits, 0.0)
    losses = functional.cross_entropy(
        kept.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return _mean(losses.view_as(labels), is_label)


def _edge_loss(logits: Tensor, adjacency: Tensor, exists: Tensor) -> Tensor:
    """Returns the mean over ordered pairs of two subtasks; self-loops are left to the DAG loss."""
    pairs = _pairs(exists) & ~torch.eye(exists.shape[1], dtype=torch.bool, device=exists.device)
    return _binary_cross_entropy(_at_least_float32(logits), adjacency, pairs)


def _stop_loss(logits: Tensor, num_subtasks: Tensor) -> Tensor:
    """Returns the mean over 1 <= i <= num_subtasks; the end of a plan of N needs no question."""
    slots = torch.arange(logits.shape[1], device=logits.device)
    ends = num_subtasks.unsqueeze(1)
    return _binary_cross_entropy(logits, slots == ends, (slots >= 1) & (slots <= ends))


def _text_loss(log_probs: Tensor, weights: Tensor, exists: Tensor) -> Tensor:
    """Returns the mean cross-entropy of subtasks that have a right candidate."""
    log_probs = _at_least_float32(log_probs)
    is_asked = exists & (weights > 0).any(-1)
    # A candidate of no weight may be impossible, and 0 * -inf is no number.
    counts = is_asked.unsqueeze(-1) & (weights > 0)
    losses = -(torch.where(counts, weights, 0.0) * torch.where(counts, log_probs, 0.0)).sum(-1)
    return _mean(losses, is_asked)


def _binary_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    kept = torch.where(mask, logits, 0.0)
    losses = functional.binary_cross_entropy_with_logits(
        kept, labels.to(kept.dtype), reduction="none"
    )
    return _mean(losses, mask)


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)


def _pairs(exists: Tensor) -> Tensor:
    """Returns bool (B, n, n): True where both subtasks exist."""
    return exists.unsqueeze(1) & exists.unsqueeze(2)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
