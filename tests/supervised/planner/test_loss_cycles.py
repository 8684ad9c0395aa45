"""The DAG part of the planner's loss: cycles judged by graphlib, gradients, and its range."""

from __future__ import annotations

import graphlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supervised.planner.loss import acyclicity, dag_loss

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


seeds = st.integers(0, 2**32 - 1)


@st.composite
def dags(draw: st.DrawFn) -> Tensor:
    """Draws a binary DAG of up to 20 subtasks, its subtasks in any order."""
    size = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.1, 0.5, 1.0]))
    order = rng.permutation(size)
    upper = np.triu(rng.random((size, size)) < density, 1)
    return torch.from_numpy(upper[np.ix_(order, order)].astype(np.float64))


def is_acyclic(adjacency: Tensor) -> bool:
    """Judges by the standard library."""
    links = {j: adjacency[:, j].nonzero().flatten().tolist() for j in range(len(adjacency))}
    try:
        list(graphlib.TopologicalSorter(links).static_order())
    except graphlib.CycleError:
        return False
    return True


@DTYPES
@given(adjacency=dags())
def test_acyclicity_of_a_dag_is_exactly_zero(adjacency: Tensor, dtype: torch.dtype) -> None:
    assert is_acyclic(adjacency)
    assert acyclicity(adjacency[None].to(dtype)).tolist() == [0.0]


@DTYPES
@given(adjacency=dags(), data=st.data())
def test_acyclicity_is_positive_exactly_with_a_cycle(
    adjacency: Tensor, data: st.DataObject, dtype: torch.dtype
) -> None:
    size = len(adjacency)
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
        adjacency[i, j] = 1.0
    value = acyclicity(adjacency[None].to(dtype)).item()

    assert (value == 0.0) == is_acyclic(adjacency)
    assert 0.0 <= value < size


@DTYPES
@pytest.mark.parametrize("length", range(1, 21))
def test_single_cycle_has_the_weight_of_its_length(length: int, dtype: torch.dtype) -> None:
    """Its closed walks of the first round weigh length / length!, shared by 20 subtasks."""
    adjacency = torch.zeros(1, 20, 20, dtype=dtype)
    for i in range(length):
        adjacency[0, i, (i + 1) % length] = 1.0
    rounds = range(length, 21, length)
    expected = math.log1p(sum(length / math.factorial(k) for k in rounds) / 20)

    assert acyclicity(adjacency).item() == pytest.approx(expected, rel=1e-5)
    assert acyclicity(adjacency).item() > 0.0


@given(seed=seeds, size=st.integers(4, 8))
def test_acyclicity_is_that_of_notears_while_small(seed: int, size: int) -> None:
    random = torch.Generator().manual_seed(seed)
    adjacency = 0.3 * torch.rand((1, size, size), generator=random, dtype=torch.float64)
    exact = torch.linalg.matrix_exp(adjacency.square()).diagonal(dim1=1, dim2=2).sum(1) - size

    torch.testing.assert_close(acyclicity(adjacency).expm1() * size, exact, rtol=1e-3, atol=1e-12)


@DTYPES
@pytest.mark.parametrize("weight", [0.99, 1.0])
def test_acyclicity_of_a_full_graph_stays_small(weight: float, dtype: torch.dtype) -> None:
    adjacency = torch.full((1, 20, 20), weight, dtype=dtype, requires_grad=True)
    value = acyclicity(adjacency)
    value.sum().backward()

    assert 10.0 < value.item() < 20.0
    assert adjacency.grad is not None
    assert (adjacency.grad > 0.0).all() and adjacency.grad.max() < 1.0


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_gradient_of_acyclicity_is_that_of_finite_differences(size: int) -> None:
    random = torch.Generator().manual_seed(size)
    adjacency = torch.rand((2, size, size), generator=random, dtype=torch.float64)
    num_subtasks = torch.tensor([size, max(1, size // 2)])
    keeps = torch.arange(size) < num_subtasks[:, None]
    adjacency = adjacency * (keeps[:, None] & keeps[:, :, None])

    assert torch.autograd.gradcheck(
        lambda values: acyclicity(values, num_subtasks), adjacency.requires_grad_()
    )


def test_descent_on_the_dag_loss_breaks_a_cycle() -> None:
    """Of two contradicting links the weaker one gives way."""
    logits = torch.tensor([[[-3.0, 2.0], [1.0, -3.0]]], requires_grad=True)
    exists = torch.ones(1, 2, dtype=torch.bool)
    optimizer = torch.optim.SGD([logits], lr=2.0)
    for _ in range(200):
        optimizer.zero_grad()
        dag_loss(logits.sigmoid(), exists).backward()
        optimizer.step()

    adjacency = logits.detach().sigmoid()[0]
    assert adjacency[0, 1] > 0.6 and adjacency[1, 0] < 0.1
    assert dag_loss(adjacency[None], exists) < 0.03


def test_dag_loss_counts_self_loops_and_cycles_per_subtask() -> None:
    adjacency = torch.zeros(2, 4, 4)
    adjacency[0].diagonal().fill_(0.5)
    adjacency[1, 0, 1] = adjacency[1, 1, 0] = 1.0
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    loops = 0.5 + math.log1p(sum(0.25**k / math.factorial(k) for k in range(1, 5)))
    cycle = math.log1p(2 / 2 / 2)

    assert dag_loss(adjacency, mask).item() == pytest.approx((loops + cycle) / 2)
