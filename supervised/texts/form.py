"""The form of a text in a few numbers: what a sentence embedding drops, and difficulty follows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FORM_NAMES = (
    "log characters",
    "log words",
    "log numbers",
    "log lines",
    "share of digits",
    "share of punctuation",
    "mean length of a word",
    "log digits of the longest number",
    "log backslashes",
    "log opening brackets",
)
"""Columns of `text_form`; log is ln(1 + count)."""


def text_form(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Counts characters, words, numbers and marks of each text.

    Returns:
        float64 (n, 10), finite, >= 0; the columns of FORM_NAMES.
    """
    return np.array([_form(text) for text in texts], np.float64).reshape(-1, len(FORM_NAMES))


def _form(text: str) -> list[float]:
    words = text.split()
    numbers = re.findall(r"\d+", text)
    length = max(len(text), 1)
    counts = [
        len(text),
        len(words),
        len(numbers),
        text.count("\n"),
        max((len(number) for number in numbers), default=0),
        text.count("\\"),
        text.count("("),
    ]
    logs = np.log1p(counts)
    digits = sum(len(number) for number in numbers) / length
    marks = len(re.findall(r"[^\w\s]", text)) / length
    word_length = sum(len(word) for word in words) / max(len(words), 1)
    return [*logs[:4], digits, marks, word_length, *logs[4:]]
