"""Spans of an instruction: pieces of a request that may serve as the text of a subtask."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_SPANS = 24
"""Most spans of one instruction by default, itself not counted."""

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+")
_OPENERS = frozenset(
    "and or then of in on at to for from by with where which who that whose when if using as after"
    " before between into than is are was has have".split()
)
"""Words that a new piece begins with."""
_LEADING = frozenset("and or then of in on at to for from by with".split())
"""Openers that are dropped at the beginning of a span."""
_NUM_PIECES = (4, 3, 2, 1, 5, 6)
"""Lengths of spans in pieces, after the whole sentence, the more telling ones first."""
_MIN_WORDS = 3


def request_spans(instruction: str, max_spans: int = MAX_SPANS) -> tuple[str, ...]:
    """Returns parts of a request from single phrases up to whole sentences, then the request.

    A sentence is cut into pieces at commas and before small words (prepositions, conjunctions,
    relative pronouns, auxiliary verbs); a span is a run of pieces. Sentences share `max_spans`
    alike; the last ones, which often hold the request itself, come first.

    Returns:
        1 to max_spans + 1 different texts; the last is the instruction itself.
    """
    sentences = [part for part in _SENTENCE_END.split(instruction) if part.strip()]
    share = max(4, max_spans // max(1, len(sentences)))
    found: dict[str, None] = {}
    for sentence in reversed(sentences):
        spans = dict.fromkeys(_spans_of(sentence))
        found |= dict.fromkeys(list(spans)[:share])
    found.pop(instruction, None)
    return (*list(found)[:max_spans], instruction)


def _spans_of(sentence: str) -> Iterator[str]:
    pieces = _pieces(sentence)
    for length in (len(pieces), *_NUM_PIECES):
        for start in range(len(pieces) - length + 1):
            words = [word for piece in pieces[start : start + length] for word in piece]
            while words and words[0].lower() in _LEADING:
                words.pop(0)
            text = " ".join(words).strip(" ,;:")
            if text and len(words) >= _MIN_WORDS:
                yield text


def _pieces(sentence: str) -> list[list[str]]:
    """Cuts a sentence after punctuation and before openers, once a piece has another word."""
    pieces: list[list[str]] = [[]]
    has_content = False
    for word in sentence.split():
        is_opener = word.lower().strip(",;:()") in _OPENERS
        if is_opener and has_content:
            pieces.append([])
            has_content = False
        pieces[-1].append(word)
        has_content |= not is_opener
        if word[-1] in ",;:)":
            pieces.append([])
            has_content = False
    return [piece for piece in pieces if piece]
