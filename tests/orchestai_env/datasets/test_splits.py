"""The split by query: stable, in proportion, and never on two sides."""

from __future__ import annotations

import collections

import hypothesis
import hypothesis.strategies as st
import pytest

from orchestai_env.datasets.splits import SPLITS, check_splits, normalised, split_of
from orchestai_env.errors import SplitLeakError


def test_split_of_a_text_never_changes() -> None:
    assert [split_of(text) for text in ("query 0", "query 2", "query 17")] == [
        "train",
        "validation",
        "test",
    ]


def test_split_has_the_stated_proportions() -> None:
    counts = collections.Counter(split_of(f"query {i}") for i in range(20_000))

    assert [counts[split] / 20_000 for split in SPLITS] == pytest.approx([0.6, 0.1, 0.3], abs=0.015)


@hypothesis.given(
    words=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=5),
    gaps=st.lists(st.sampled_from([" ", "\n", "\t", "  \r\n "]), min_size=6, max_size=6),
)
def test_split_ignores_white_space(words: list[str], gaps: list[str]) -> None:
    spaced = "".join(gap + word for gap, word in zip(gaps, words, strict=False)) + gaps[-1]

    assert split_of(spaced) == split_of(" ".join(words))
    assert split_of(normalised(spaced)) == split_of(spaced)


def test_check_splits_accepts_one_side_each() -> None:
    check_splits([("a", "one", "train"), ("b", "two", "test"), ("c", "one ", "train")])


def test_check_splits_refuses_an_id_on_two_sides() -> None:
    with pytest.raises(SplitLeakError, match=r"^file: query 'a' is in two splits, train and test"):
        check_splits([("a", "one", "train"), ("a", "two", "test")], where="file")


def test_check_splits_refuses_a_text_on_two_sides() -> None:
    with pytest.raises(
        SplitLeakError, match=r"query 'b' is in two splits, train \(there as 'a'.*and validation"
    ):
        check_splits([("a", "one  two", "train"), ("b", " one\ntwo", "validation")])
