"""The planner's loss: each part by hand, padding, gradients, and what has no label."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from orchestai_env.errors import DataError
from supervised.planner.loss import compute_supervised_loss, dag_loss
from supervised.plans.dataset import IGNORED, PlanBatch, PlanVocabulary, WorkflowDataset, collate
from tests.supervised.random_plans import TYPES, WORKERS, plans

MAX_SUBTASKS = 8
PARTS = ("type_loss", "worker_loss", "edge_loss", "stop_loss", "text_loss")
VOCABULARY = PlanVocabulary(task_types=TYPES, workers=WORKERS)


@st.composite
def batches(draw: st.DrawFn, max_size: int = 3) -> PlanBatch:
    """Draws plans of up to 6 subtasks, padded to their longest or to more."""
    dataset = WorkflowDataset.from_plans(draw(plans(max_size)), vocabulary=VOCABULARY)
    examples = [dataset[row] for row in range(len(dataset))]
    return collate(examples, draw(st.sampled_from([None, MAX_SUBTASKS, MAX_SUBTASKS + 3])))


seeds = st.integers(0, 2**32 - 1)


def random_outputs(batch: PlanBatch, seed: int, *, num_texts: int = 4) -> dict[str, Any]:
    """Returns what an untrained planner could give, in float64; all of it are leaves."""
    random = torch.Generator().manual_seed(seed)
    count, n = len(batch.rows), MAX_SUBTASKS

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()

    edge_logits = leaf(count, n, n)
    weights = torch.rand((count, n, num_texts), generator=random, dtype=torch.float64)
    weights[..., 0] = 0.0
    weights[0, 0] = 0.0
    return {
        "task_types": leaf(count, n, len(TYPES)),
        "model_selections": leaf(count, n, len(WORKERS)),
        "workflow_graph": {
            "edge_logits": edge_logits,
            "adjacency": edge_logits.detach().sigmoid().requires_grad_(),
        },
        "stop_logits": leaf(count, n),
        "text_log_probs": leaf(count, n, num_texts).detach().log_softmax(-1).requires_grad_(),
        "text_weights": weights / weights.sum(-1, keepdim=True).clamp(min=1e-9),
    }


def leaves(outputs: dict[str, Any]) -> dict[str, Tensor]:
    flat = {**outputs, **outputs["workflow_graph"]}
    return {name: value for name, value in flat.items() if torch.is_tensor(value)}


def perfect_outputs(batch: PlanBatch) -> dict[str, Any]:
    """Returns outputs that are sure of the plans."""
    n = batch.subtask_mask.shape[1] + 1
    pad = (0, 1, 0, 1)
    edge_logits = 40.0 * functional.pad(batch.adjacency, pad) - 20.0
    return {
        "task_types": 20.0 * functional.one_hot(functional.pad(batch.task_types, (0, 1)) % 3, 3),
        "model_selections": 20.0
        * functional.one_hot(functional.pad(batch.model_selections, (0, 1)) % 2, 2),
        "workflow_graph": {"edge_logits": edge_logits, "adjacency": edge_logits.sigmoid()},
        "stop_logits": torch.where(torch.arange(n) == batch.num_subtasks[:, None], 20.0, -20.0),
    }


@given(batch=batches(max_size=2), seed=seeds)
def test_gradient_of_the_loss_is_that_of_finite_differences(batch: PlanBatch, seed: int) -> None:
    outputs = random_outputs(batch, seed)
    edge_logits = outputs["workflow_graph"]["edge_logits"]

    def total(logits: Tensor) -> Tensor:
        graph = {"edge_logits": logits, "adjacency": logits.sigmoid()}
        return compute_supervised_loss(outputs | {"workflow_graph": graph}, batch)["total_loss"]

    assert torch.autograd.gradcheck(total, edge_logits, fast_mode=True)


@given(batch=batches())
def test_dag_loss_of_recorded_plans_is_exactly_zero(batch: PlanBatch) -> None:
    assert dag_loss(batch.adjacency, batch.subtask_mask).item() == 0.0


@given(batch=batches(), seed=seeds, lambda_dag=st.floats(0.0, 10.0))
def test_parts_sum_to_the_total(batch: PlanBatch, seed: int, lambda_dag: float) -> None:
    losses = compute_supervised_loss(random_outputs(batch, seed), batch, lambda_dag)

    assert set(losses) == {*PARTS, "ce_loss", "dag_loss", "total_loss"}
    assert all(loss.ndim == 0 and loss.isfinite() and loss >= 0.0 for loss in losses.values())
    torch.testing.assert_close(losses["ce_loss"], torch.stack([losses[p] for p in PARTS]).sum())
    torch.testing.assert_close(
        losses["total_loss"], losses["ce_loss"] + lambda_dag * losses["dag_loss"]
    )


@given(batch=batches())
def test_loss_of_a_perfect_planner_is_near_zero(batch: PlanBatch) -> None:
    losses = compute_supervised_loss(perfect_outputs(batch), batch)

    assert "text_loss" not in losses
    assert max(loss.item() for loss in losses.values()) < 1e-4


@given(batch=batches(), seed=seeds)
def test_parts_are_means_over_the_labels_that_exist(batch: PlanBatch, seed: int) -> None:
    """Written out subtask by subtask."""
    outputs = random_outputs(batch, seed)
    losses = compute_supervised_loss(outputs, batch)
    terms: dict[str, list[float]] = {part: [] for part in PARTS}
    edges = outputs["workflow_graph"]["edge_logits"]
    for b, n in enumerate(batch.num_subtasks.tolist()):
        for i in range(n):
            types = outputs["task_types"][b, i].log_softmax(0)
            terms["type_loss"].append(-types[batch.task_types[b, i]].item())
            worker = batch.model_selections[b, i]
            if worker != IGNORED:
                workers = outputs["model_selections"][b, i].log_softmax(0)
                terms["worker_loss"].append(-workers[worker].item())
            weights = outputs["text_weights"][b, i]
            if weights.sum() > 0:
                terms["text_loss"].append(-(weights @ outputs["text_log_probs"][b, i]).item())
        for i, j in itertools.permutations(range(n), 2):
            sign = 2.0 * batch.adjacency[b, i, j] - 1.0
            terms["edge_loss"].append(-functional.logsigmoid(sign * edges[b, i, j]).item())
        for i in range(1, min(n, MAX_SUBTASKS - 1) + 1):
            is_end = 1.0 if i == n else -1.0
            stop = functional.logsigmoid(is_end * outputs["stop_logits"][b, i])
            terms["stop_loss"].append(-stop.item())

    for part in PARTS:
        assert losses[part].item() == pytest.approx(np.mean(terms[part] or [0.0]))


@given(batch=batches(), seed=seeds, value=st.sampled_from([7.0, math.inf, -math.inf, math.nan]))
def test_padding_neither_counts_nor_learns(batch: PlanBatch, seed: int, value: float) -> None:
    clean, dirty = random_outputs(batch, seed), random_outputs(batch, seed)
    slots = torch.arange(MAX_SUBTASKS)
    exists = slots < batch.num_subtasks[:, None]
    asked = (slots >= 1) & (slots <= batch.num_subtasks[:, None])
    padding = {name: ~exists for name in leaves(clean)}
    padding |= {"stop_logits": ~asked}
    padding |= {
        name: ~(exists[:, None] & exists[:, :, None]) for name in ("edge_logits", "adjacency")
    }
    with torch.no_grad():
        for name, leaf in leaves(dirty).items():
            leaf[padding[name]] = value
    expected = compute_supervised_loss(clean, batch)
    found = compute_supervised_loss(dirty, batch)
    found["total_loss"].backward()

    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}
    for name, leaf in leaves(dirty).items():
        if leaf.requires_grad and leaf.grad is not None:
            assert leaf.grad.isfinite().all(), name
            assert (leaf.grad[padding[name]] == 0.0).all(), name
            # A plan of one subtask has no pair, and no worker may be known.
            assert name in {"edge_logits", "model_selections", "text_log_probs"} or (
                leaf.grad.abs().sum() > 0.0
            ), name


@given(batch=batches(), seed=seeds)
def test_padded_size_of_the_targets_does_not_matter(batch: PlanBatch, seed: int) -> None:
    longest = int(batch.num_subtasks.max())
    tight = dataclasses.replace(
        batch,
        task_types=batch.task_types[:, :longest],
        model_selections=batch.model_selections[:, :longest],
        adjacency=batch.adjacency[:, :longest, :longest],
        subtask_mask=batch.subtask_mask[:, :longest],
    )
    outputs = random_outputs(batch, seed)

    expected = compute_supervised_loss(outputs, batch)
    for name, loss in compute_supervised_loss(outputs, tight).items():
        torch.testing.assert_close(loss, expected[name], msg=name)


@given(batch=batches(), seed=seeds)
def test_batch_is_the_weighted_mean_of_its_plans(batch: PlanBatch, seed: int) -> None:
    """Weighted by labels; the DAG loss weighs each plan alike."""
    outputs = random_outputs(batch, seed)
    together = compute_supervised_loss(outputs, batch)
    sums = dict.fromkeys((*PARTS, "dag_loss"), 0.0)
    counts = dict.fromkeys(sums, 0)
    for b, n in enumerate(batch.num_subtasks.tolist()):
        one = slice(b, b + 1)
        single: dict[str, Any] = {k: v[one] for k, v in outputs.items() if torch.is_tensor(v)}
        single["workflow_graph"] = {k: v[one] for k, v in outputs["workflow_graph"].items()}
        plan = PlanBatch(
            **{
                field.name: getattr(batch, field.name)[one]
                for field in dataclasses.fields(PlanBatch)
            }
        )
        labels = {
            "type_loss": n,
            "worker_loss": int((plan.model_selections != IGNORED).sum()),
            "edge_loss": n * (n - 1),
            "stop_loss": min(n, MAX_SUBTASKS - 1),
            "text_loss": int((single["text_weights"][0, :n].sum(-1) > 0).sum()),
            "dag_loss": 1,
        }
        losses = compute_supervised_loss(single, plan)
        for part, count in labels.items():
            sums[part] += count * losses[part].item()
            counts[part] += count

    for part, total in sums.items():
        assert together[part].item() == pytest.approx(total / max(counts[part], 1)), part


def one_plan(*, num_subtasks: int = 2, workers: tuple[str, ...] = ()) -> PlanBatch:
    dataset = WorkflowDataset(
        ["x"],
        [[str(i) for i in range(num_subtasks)]],
        [["draw"] * num_subtasks],
        [[]],
        vocabulary=PlanVocabulary(task_types=TYPES, workers=workers),
    )
    return collate([dataset[0]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_parts_without_labels_are_zero_and_can_be_trained(num_workers: int) -> None:
    """No worker is known, a single subtask has no pair, and no text is right."""
    batch = one_plan(num_subtasks=1)
    outputs = random_outputs(batch, 0)
    selections = torch.randn(1, MAX_SUBTASKS, num_workers, requires_grad=True)
    outputs |= {
        "model_selections": selections,
        "text_weights": torch.zeros_like(outputs["text_weights"]),
    }
    losses = compute_supervised_loss(outputs, batch)
    losses["total_loss"].backward()

    assert all(losses[part].item() == 0.0 for part in ("worker_loss", "edge_loss", "text_loss"))
    assert selections.grad is not None and (selections.grad == 0.0).all()


def test_end_of_the_longest_plan_is_not_asked() -> None:
    batch = one_plan(num_subtasks=MAX_SUBTASKS)
    outputs = random_outputs(batch, 0)
    compute_supervised_loss(outputs, batch)["stop_loss"].backward()

    grad = outputs["stop_logits"].grad
    assert grad[0, 0] == 0.0 and (grad[0, 1:] > 0.0).all()


def test_impossible_candidate_of_no_weight_does_not_count() -> None:
    batch = one_plan()
    outputs = random_outputs(batch, 0)
    expected = compute_supervised_loss(outputs, batch)["text_loss"]
    with torch.no_grad():
        outputs["text_log_probs"][..., 0] = -math.inf
    loss = compute_supervised_loss(outputs, batch)["text_loss"]
    loss.backward()

    torch.testing.assert_close(loss, expected)
    assert outputs["text_log_probs"].grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "f16"])
def test_half_precision_is_widened_first(dtype: torch.dtype) -> None:
    """A full graph of 20 subtasks would leave the range of float16."""
    batch = one_plan(num_subtasks=20)
    edge_logits = torch.full((1, 20, 20), 9.0, dtype=dtype)
    outputs = {
        "task_types": torch.zeros(1, 20, 3, dtype=dtype),
        "model_selections": torch.zeros(1, 20, 2, dtype=dtype),
        "workflow_graph": {"edge_logits": edge_logits, "adjacency": edge_logits.sigmoid()},
        "stop_logits": torch.zeros(1, 20, dtype=dtype),
    }
    with torch.autocast("cpu", dtype=dtype):
        losses = compute_supervised_loss(outputs, batch)

    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert losses["type_loss"].item() == pytest.approx(math.log(3))
    assert losses["dag_loss"].item() == pytest.approx(17.3, abs=0.3)


def test_plan_beyond_the_planner_is_refused() -> None:
    batch = one_plan(num_subtasks=MAX_SUBTASKS + 1)
    with pytest.raises(DataError, match=r"at most 8 subtasks, as the planner's .*, got one of 9;"):
        compute_supervised_loss(random_outputs(batch, 0), batch)
