"""Spans of an instruction are different pieces of it, whatever was written."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from supervised.planner.spans import MAX_SPANS, request_spans

WORDS = st.sampled_from(["fetch", "the", "apples", "and", "then", "which", ",", "-", "it.", "x;"])
PROSE = st.lists(WORDS, max_size=40).map(" ".join)


@given(st.one_of(st.text(), PROSE), st.integers(0, 12))
@example("", 3)
@example(" \n ", 3)
@example(", , , .", 3)
@example("word " * 5000, 3)
def test_spans_are_different_pieces_and_the_instruction_comes_last(text: str, most: int) -> None:
    spans = request_spans(text, most)

    assert spans[-1] == text
    assert 1 <= len(spans) <= most + 1
    assert len(set(spans)) == len(spans)
    words = " ".join(text.split())
    for span in spans[:-1]:
        assert span.strip() == span != ""
        assert span in words


def test_spans_hold_phrases_clauses_and_sentences() -> None:
    text = "Fetch the ripe apples, then wash the plums with cold water. Send me a short report."

    spans = request_spans(text)

    assert "Send me a short report." in spans
    assert "Fetch the ripe apples" in spans
    assert "wash the plums with cold water." in spans
    assert "wash the plums" in spans
    assert "cold water." not in spans, "two words say too little"
    assert spans.index("Send me a short report.") < spans.index("Fetch the ripe apples")


def test_spans_of_many_sentences_come_from_all_that_there_is_room_for() -> None:
    text = " ".join(f"Buy item number {k} for the party." for k in range(6))

    spans = request_spans(text)

    assert len(spans) <= MAX_SPANS + 1
    assert all(f"Buy item number {k}" in spans for k in range(6))


def test_spans_of_none_leave_the_instruction() -> None:
    assert request_spans("Fetch the ripe apples, then wash them.", 0) == (
        "Fetch the ripe apples, then wash them.",
    )
