"""BalancedSampler: equal shares on skewed data, and an order that seed and epoch decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from supervised.plans.balanced_sampler import BalancedSampler, balanced_odds
from supervised.plans.dataset import WorkflowDataset, collate


def dataset(*types: list[str]) -> WorkflowDataset:
    return WorkflowDataset(["Do."] * len(types), types, types, [[] for _ in types])


SKEWED = dataset(*[["math"] * 3] * 180, *[["math", "draw"]] * 18, *[["write"]] * 2)


def test_rare_types_get_an_equal_share_of_subtasks() -> None:
    """In the data math is 95 %, writing 0.3 % of the subtasks; drawn, each is a third."""
    rows = list(BalancedSampler(SKEWED, seed=0))
    drawn = np.concatenate([SKEWED[row].task_types.numpy() for row in rows])

    assert len(rows) == len(SKEWED)
    assert np.bincount(drawn) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.03)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    sampler, resumed = BalancedSampler(SKEWED, seed=3), BalancedSampler(SKEWED, seed=3)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    resumed.set_epoch(2)

    assert list(resumed) == orders[2]
    assert list(resumed) == orders[2]
    assert orders[0] != orders[1] != orders[2]
    assert list(BalancedSampler(SKEWED, seed=4)) != orders[0]


@pytest.mark.parametrize("epoch", range(5))
def test_with_one_type_every_row_comes_once_in_another_order(epoch: int) -> None:
    data = dataset(*[["math"] * (1 + k % 4) for k in range(101)])
    sampler = BalancedSampler(data, seed=0)
    sampler.set_epoch(epoch)

    assert sorted(sampler) == list(range(101)) != list(sampler)


def test_types_that_occur_together_only_are_as_near_to_equal_as_can_be() -> None:
    """Twice as many a as b in every row: 2/3 and 1/3 is all there is."""
    row, task_type = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 0, 0])
    assert balanced_odds(row, task_type) == pytest.approx([0.5, 0.5])


@given(
    rows=st.lists(
        st.lists(st.integers(0, 3), min_size=1, max_size=4),
        max_size=20,
    )
)
def test_odds_balance_any_data_in_which_each_type_also_stands_alone(rows: list[list[int]]) -> None:
    rows = [*rows, [0], [1], [2], [5]]
    present = sorted({word for row in rows for word in row if [word] in rows})
    rows = [row for row in rows if set(row) <= set(present)]
    row = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    task_type = np.concatenate(rows)

    odds = balanced_odds(row, task_type)

    assert (odds > 0).all() and odds.sum() == pytest.approx(1.0)
    shares = np.bincount(task_type, weights=odds[row])[present]
    assert shares / shares.sum() == pytest.approx([1 / len(present)] * len(present), rel=0.05)


def test_loader_reads_batches_by_the_sampler() -> None:
    sampler = BalancedSampler(SKEWED, seed=0)
    loader = DataLoader(SKEWED, batch_size=32, sampler=sampler, collate_fn=collate)
    assert [row for batch in loader for row in batch.rows.tolist()] == list(sampler)
