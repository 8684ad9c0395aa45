"""Scores of plans: cases worked out by hand, and what must hold of any plan."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervised.plans.metrics import MATCH_THRESHOLD, f1, match_subtasks, score_plan

Links = tuple[tuple[int, int], ...]


@st.composite
def links_of(draw: st.DrawFn, size: int) -> Links:
    """Draws the links of a DAG, forward ones."""
    pairs = list(itertools.combinations(range(size), 2))
    return tuple(sorted(draw(st.sets(st.sampled_from(pairs))))) if pairs else ()


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[np.ndarray, Links, Links]:
    """Draws similarities without ties, and the links of both plans."""
    planned, gold = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random((planned, gold)), draw(links_of(planned)), draw(links_of(gold))


def test_f1_is_two_matches_over_all() -> None:
    assert f1(2, 3, 4) == pytest.approx(4 / 7)
    assert f1(0, 3, 0) == f1(0, 0, 2) == 0.0
    assert f1(0, 0, 0) == 1.0


@given(st.integers(0, 20), st.integers(0, 20), st.data())
def test_f1_is_symmetric_and_a_share(planned: int, gold: int, data: st.DataObject) -> None:
    matched = data.draw(st.integers(0, min(planned, gold)))

    assert f1(matched, planned, gold) == f1(matched, gold, planned)
    assert 0.0 <= f1(matched, planned, gold) <= 1.0


def test_matching_has_the_largest_total_not_the_best_first() -> None:
    similarity = np.array([[0.9, 0.8], [0.8, 0.0]])

    assert match_subtasks(similarity) == [(0, 1), (1, 0)]


def test_pairs_below_the_threshold_are_never_matched() -> None:
    below = np.nextafter(MATCH_THRESHOLD, 0)

    assert match_subtasks(np.array([[MATCH_THRESHOLD]])) == [(0, 0)]
    assert match_subtasks(np.array([[below]])) == []
    assert match_subtasks(np.array([[below]]), threshold=0.5) == [(0, 0)]
    assert match_subtasks(np.array([[-1.0, 0.7], [-1.0, 0.9]])) == [(1, 1)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_matches_an_empty_plan(shape: tuple[int, int]) -> None:
    assert match_subtasks(np.zeros(shape)) == []


def test_equal_texts_are_matched_place_by_place() -> None:
    links = ((0, 1), (1, 2), (2, 3))

    assert match_subtasks(np.ones((4, 4))) == [(i, i) for i in range(4)]
    assert score_plan(np.ones((4, 4), np.float32), links, links).exact == 1.0


def test_score_of_a_plan_worked_out_by_hand() -> None:
    """Planned A, B, D with B wrong, true A, C, D; one of the links A-D and A-B is right."""
    similarity = np.array([[1.0, 0.1, 0.1], [0.1, 0.5, 0.1], [0.1, 0.1, 0.9]])

    score = score_plan(similarity, [(0, 2), (0, 1)], [(0, 1), (0, 2)])

    assert dataclasses.asdict(score) == {
        "node_f1": pytest.approx(2 / 3),
        "edge_f1": pytest.approx(1 / 2),
        "count_error": 0.0,
        "exact": 0.0,
        "valid": 1.0,
    }


def test_link_between_swapped_ends_does_not_count() -> None:
    assert score_plan(np.eye(2), [(1, 0)], [(0, 1)]).edge_f1 == 0.0


def test_plans_without_links_agree_on_them() -> None:
    score = score_plan(np.zeros((1, 3)), [], [])

    assert (score.node_f1, score.edge_f1, score.count_error) == (0.0, 1.0, 2.0)
    assert score_plan(np.eye(2), [], [(0, 1)]).edge_f1 == 0.0


def test_repeated_links_count_once() -> None:
    assert score_plan(np.eye(2), [(0, 1), (0, 1)], [(0, 1)]).exact == 1.0


@pytest.mark.parametrize(
    ("size", "links", "valid"),
    [
        (3, [(2, 1), (1, 0)], 1.0),
        (3, [(0, 1), (1, 2), (2, 0)], 0.0),
        (3, [(0, 1), (2, 2)], 0.0),
        (2, [(0, 2)], 0.0),
        (2, [(-1, 1)], 0.0),
        (1, [], 1.0),
        (0, [], 0.0),
    ],
)
def test_valid_plans_are_dags_of_a_subtask_or_more(
    size: int, links: list[tuple[int, int]], valid: float
) -> None:
    assert score_plan(np.zeros((size, 2)), links, [(0, 1)]).valid == valid


@given(st.integers(1, 8), st.data())
def test_plan_scores_perfectly_against_itself(size: int, data: st.DataObject) -> None:
    links = data.draw(links_of(size))
    texts = data.draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size))
    similarity = np.array([[float(a == b) for b in texts] for a in texts])

    score = score_plan(similarity, links, links)

    assert dataclasses.astuple(score) == (1.0, 1.0, 0.0, 1.0, 1.0)


@given(comparisons(), st.data())
def test_order_of_the_planned_subtasks_makes_no_difference(
    case: tuple[np.ndarray, Links, Links], data: st.DataObject
) -> None:
    similarity, planned, gold = case
    order = data.draw(st.permutations(range(len(similarity))))
    place = {old: new for new, old in enumerate(order)}
    moved = [(place[i], place[j]) for i, j in planned]

    assert score_plan(similarity[order], moved, gold) == score_plan(similarity, planned, gold)


@given(comparisons(), st.data())
def test_wrong_link_never_raises_edge_f1(
    case: tuple[np.ndarray, Links, Links], data: st.DataObject
) -> None:
    similarity, planned, gold = case
    partner = dict(match_subtasks(similarity))
    wrong = [
        pair
        for pair in itertools.permutations(range(len(similarity)), 2)
        if (partner.get(pair[0]), partner.get(pair[1])) not in gold
    ]
    added = data.draw(st.lists(st.sampled_from(wrong))) if wrong else []

    more = score_plan(similarity, (*planned, *added), gold)

    assert more.edge_f1 <= score_plan(similarity, planned, gold).edge_f1


@given(comparisons())
def test_matching_is_one_to_one_and_no_other_has_a_larger_total(
    case: tuple[np.ndarray, Links, Links],
) -> None:
    """Equal up to the bonus for the same place, which is below 1e-5 a pair."""
    similarity = case[0]
    pairs = match_subtasks(similarity)
    gain = np.where(similarity >= MATCH_THRESHOLD, similarity, 0.0)
    wide = gain if gain.shape[0] <= gain.shape[1] else gain.T
    best = max(
        wide[np.arange(len(wide)), list(columns)].sum()
        for columns in itertools.permutations(range(wide.shape[1]), len(wide))
    )

    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert sum(similarity[i, j] for i, j in pairs) == pytest.approx(best, abs=1e-4)
