"""Plans of the built-in workflows: dealing, shapes and sizes."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.datasets.builtin_plans import MAX_SUBTASKS, SMALLEST, Deck, Planner
from orchestai_env.datasets.shapes import shape_name

TYPES = tuple("abcdefghij")


def planner(seed: int = 0, types: tuple[str, ...] = TYPES, max_subtasks: int = 20) -> Planner:
    return Planner(np.random.default_rng(seed), types, max_subtasks)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    num_cards=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_deck_deals_evenly_and_none_twice_before_the_others(
    sizes: list[int], num_cards: int, seed: int
) -> None:
    deck = Deck(np.random.default_rng(seed), range(num_cards))
    hands = [deck.hand(size) for size in sizes]

    assert [len(hand) for hand in hands] == sizes
    for hand in hands:
        for start in range(0, len(hand), num_cards):
            part = hand[start : start + num_cards]
            assert len(set(part)) == len(part)
    count = collections.Counter(card for hand in hands for card in hand)
    assert max(count.values()) - min(count[card] for card in range(num_cards)) <= 1


@pytest.mark.parametrize("largest", [4, 5, 6, 20])
def test_sizes_of_every_shape_come_equally_often(largest: int) -> None:
    plans = list(planner(max_subtasks=largest).base(360))
    found = collections.Counter(
        (shape_name(len(kinds), links), len(kinds)) for kinds, links in plans
    )

    for shape, smallest in SMALLEST.items():
        counts = [found.pop((shape, size)) for size in range(smallest, min(largest, 6) + 1)]
        assert sum(counts) == 60
        assert max(counts) - min(counts) <= 1
    assert not found


@pytest.mark.parametrize(
    ("largest", "names"),
    [(2, {"chain", "independent"}), (3, {"chain", "fork", "join", "independent"})],
)
def test_small_workflows_have_the_shapes_that_fit(largest: int, names: set[str]) -> None:
    plans = list(planner(max_subtasks=largest).base(40))

    assert {shape_name(len(kinds), links) for kinds, links in plans} == names
    assert max(len(kinds) for kinds, _ in plans) == largest


def test_workflows_of_one_subtask_have_no_links() -> None:
    assert [links for _, links in planner(max_subtasks=1).base(5)] == [()] * 5


def test_types_of_a_workflow_differ() -> None:
    plans = list(planner().base(200))

    assert all(len(set(kinds)) == len(kinds) for kinds, _ in plans)
    assert max(len(kinds) for kinds, _ in plans) == MAX_SUBTASKS


def test_types_follow_the_order_of_work() -> None:
    types = ("planning", "summarization", "tea_making", "text_extraction")
    plans = [kinds for kinds, _ in planner(types=types).base(60) if len(kinds) == 4]

    # A type that is not built in works on material that was read, as a translation does.
    assert set(plans) == {("text_extraction", "tea_making", "summarization", "planning")}


def test_variants_keep_links_and_deal_types_anew_every_other_pass() -> None:
    cards = planner(seed=1)
    base = list(cards.base(30))
    variants = list(planner(seed=2).variants(base, 75))

    assert [links for _, links in variants] == [links for _, links in (base * 3)[:75]]
    kept = [kinds for kinds, _ in variants[:30] + variants[60:]]
    assert kept == [kinds for kinds, _ in base + base[:15]]
    redrawn = [kinds for kinds, _ in variants[30:60]]
    assert sum(a != b for a, (b, _) in zip(redrawn, base, strict=True)) > 20
