"""Near-duplicates: what counts as one, and that the fast search finds what comparing all finds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervised.texts.near_duplicates import (
    THRESHOLD,
    duplicate_groups,
    near_duplicate_pairs,
    similarity,
)

ROOM = "You see a bed 1, a desk 2, a desk 1, a drawer 3, a drawer 2, a drawer 1, and a shelf 1."
TEXTS = st.lists(st.sampled_from("abc "), max_size=12).map("".join)
TEXTS |= st.lists(st.sampled_from(["go", "to", "the", "bed.", "Go", "\n"]), max_size=9).map(
    " ".join
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Find a cheap red shirt for men in size 4.", "find a cheap red shirt, for men, in size 5"),
        (
            f"{ROOM} Your task is to: put some old pen and a cup on the shelf.",
            f"{ROOM} Your task is to: put some old pen and a cup on my shelf.",
        ),
        ("", ""),
        ("!?", "!?"),
    ],
)
def test_near_duplicates_differ_in_a_word_or_in_marks(a: str, b: str) -> None:
    assert similarity(a, b) >= THRESHOLD


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (f"{ROOM} Your task is to: heat some egg and eat it.", f"{ROOM} Your task is to: look."),
        ("How to wear a red hat", "How to grow a red rose"),
        ("", "Do it."),
        ("!?", "?!"),
    ],
)
def test_texts_that_ask_for_different_things_are_none(a: str, b: str) -> None:
    assert similarity(a, b) < THRESHOLD


@given(texts=st.lists(TEXTS, max_size=12), threshold=st.sampled_from([0.3, 0.5, 0.7, 0.75, 1.0]))
def test_search_finds_the_pairs_that_comparing_all_finds(
    texts: list[str], threshold: float
) -> None:
    indexes = itertools.combinations(range(len(texts)), 2)
    expected = [(i, j) for i, j in indexes if similarity(texts[i], texts[j]) >= threshold]

    assert near_duplicate_pairs(texts, threshold) == expected


@given(a=TEXTS, b=TEXTS)
def test_similarity_is_symmetric_and_one_for_the_same_text(a: str, b: str) -> None:
    assert similarity(a, b) == similarity(b, a)
    assert 0.0 <= similarity(a, b) <= 1.0
    assert similarity(a, a) == 1.0


def test_groups_follow_chains_and_are_named_by_their_first_text() -> None:
    chain = ["a b c d e f g h", "x y", "a b c d e f g", "a b c d e f", "a b c d e"]
    assert similarity(chain[0], chain[4]) < THRESHOLD

    assert duplicate_groups(chain).tolist() == [0, 1, 0, 0, 0]
    assert duplicate_groups([]).tolist() == []
