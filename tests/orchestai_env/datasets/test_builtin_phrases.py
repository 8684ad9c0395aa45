"""Words of the built-in workflows: every slot is filled, nothing is said twice."""

from __future__ import annotations

import collections
import dataclasses
import itertools

import pytest

from orchestai_env.datasets.builtin import builtin_pool
from orchestai_env.datasets.builtin_phrases import (
    clients,
    first_steps,
    next_steps,
    openings,
    stage,
)
from orchestai_env.datasets.builtin_themes import THEMES, Theme
from orchestai_env.datasets.splits import SPLITS

TASK_TYPES = builtin_pool()[1]


def wordings(theme: Theme) -> list[tuple[str, ...]]:
    groups = [group for kind in TASK_TYPES for group in first_steps(theme, kind)]
    for kind, parent in itertools.product(TASK_TYPES, (*TASK_TYPES, None)):
        groups += next_steps(theme, kind, parent)
    return groups


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.project)
def test_steps_are_whole_sentences(theme: Theme) -> None:
    for group in wordings(theme):
        assert group
        for text in group:
            assert "{" not in text and "  " not in text
            assert text[0].islower() and text[-1].isalnum()
            assert "the the " not in text and "the a " not in text


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.project)
def test_steps_say_nothing_twice(theme: Theme) -> None:
    for kind in TASK_TYPES:
        first = [text for group in first_steps(theme, kind) for text in group]
        assert len(set(first)) == len(first) >= 6


def test_themes_share_no_material() -> None:
    """Projects, documents, tables and so on are of one theme each."""
    words: collections.Counter[str] = collections.Counter()
    for theme in THEMES:
        for field in dataclasses.fields(theme):
            value = getattr(theme, field.name)
            words.update({value} if isinstance(value, str) else set(value))

    assert len(THEMES) == 12
    assert [word for word, count in words.items() if count > 1] == []


def test_details_and_questions_name_documents_of_their_theme() -> None:
    for theme in THEMES:
        for detail in theme.detail:
            assert any(detail.endswith(f" from the {name}") for name in theme.document), detail


def test_step_with_one_parent_names_its_result() -> None:
    theme = THEMES[0]
    assert next_steps(theme, "translation", "summarization")[0][0] == (
        "translate the summary into German"
    )
    assert next_steps(theme, "translation", None)[0][0] == "translate these results into German"
    assert next_steps(theme, "translation", "tea_making")[0][0] == (
        "translate the result of the tea making into German"
    )


def test_scripts_are_not_treated_as_texts() -> None:
    for kind in ("summarization", "planning", "document_generation"):
        for group in next_steps(THEMES[0], kind, "code_generation"):
            assert all("new script" in text for text in group)
            assert not any("basis of the new script" in text for text in group)


def test_unknown_type_is_named() -> None:
    assert first_steps(THEMES[0], "tea_making") == (
        tuple(f"carry out the tea making of the {name}" for name in THEMES[0].document),
    )
    assert next_steps(THEMES[0], "tea_making", "planning") == (
        ("carry out the tea making with the plan",),
    )
    assert stage("text_extraction") < stage("tea_making") < stage("planning")


def test_openings_say_client_matter_and_deadline() -> None:
    for theme in THEMES:
        texts = [text for group in openings("Alder Bank", theme) for text in group]
        assert len(set(texts)) == len(texts) == 24
        assert all("Alder Bank" in text and theme.matter in text for text in texts)


def test_clients_are_on_one_split_each_and_enough() -> None:
    names = [name for split in SPLITS for name in clients(split)]
    assert len(names) == len(set(names)) == 81
    assert all(len(clients(split)) >= 8 for split in SPLITS)
