"""Splits of planning data: sides by text, near-duplicates together, and leaks found."""

from __future__ import annotations

import numpy as np
import pytest

from orchestai_env.datasets.splits import split_of
from orchestai_env.errors import SplitLeakError
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.splits import check_no_leak, plan_split_of, split_rows


def dataset(instructions: list[str]) -> WorkflowDataset:
    one = [["x"]] * len(instructions)
    return WorkflowDataset(instructions, one, one, [[] for _ in instructions])


TEXTS = [
    f"{verb} item{i} of list{j}" for verb in ("sort", "print") for i in range(30) for j in range(20)
]


def test_test_set_is_that_of_the_queries_and_the_rest_is_80_to_20() -> None:
    sides = np.array([plan_split_of(text) for text in TEXTS])

    assert ((sides == "test") == [split_of(text) == "test" for text in TEXTS]).all()
    rest = sides[sides != "test"]
    assert (rest == "validation").mean() == pytest.approx(0.2, abs=0.03)


def test_white_space_makes_no_difference() -> None:
    assert all(
        plan_split_of(f" {text}\n".replace(" ", "  ")) == plan_split_of(text) for text in TEXTS
    )


def test_every_row_is_on_one_side_and_a_text_is_on_its_own() -> None:
    data = dataset(TEXTS)
    rows = split_rows(data)

    assert list(rows) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(data)))
    for split, of_split in rows.items():
        assert of_split.dtype == np.int64
        assert all(plan_split_of(TEXTS[row]) == split for row in of_split)


def test_near_duplicates_go_where_the_first_of_their_texts_belongs() -> None:
    """Each text comes with a twin; whatever the order of rows, twins are on one side."""
    twins = [
        f"please {verb} all the red files of folder{i} by name now"
        for i in range(60)
        for verb in ("sort",)
    ]
    others = [text.replace("now", "today") for text in twins]
    moved = [plan_split_of(a) != plan_split_of(b) for a, b in zip(twins, others, strict=True)]
    assert any(moved)

    for texts in (twins + others, others + twins):
        parts = split_rows(dataset(texts))
        side = {texts[row]: split for split, rows in parts.items() for row in rows}
        for a, b in zip(twins, others, strict=True):
            assert side[a] == side[b]
        check_no_leak(
            {split: dataset(texts).take(rows) for split, rows in parts.items() if len(rows)}
        )


def test_leak_is_refused_with_the_pair() -> None:
    a = dataset(["Say hello to all of them.", "Sort the numbers."])
    b = dataset(["Buy a car.", "say hello to all of them"])

    with pytest.raises(SplitLeakError, match="'row 0' in train and 'row 1' in test: 'Say hello"):
        check_no_leak({"train": a, "test": b})
    check_no_leak({"train": a, "test": b.take([0])})
    check_no_leak({"train": dataset(["Say hello.", "Say hello."])})
