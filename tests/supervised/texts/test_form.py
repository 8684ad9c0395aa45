"""The form of a text: what is counted in it."""

from __future__ import annotations

import numpy as np
import pytest

from supervised.texts.form import FORM_NAMES, text_form


def test_form_counts_what_is_there() -> None:
    found = dict(zip(FORM_NAMES, text_form(["a1 (22)\n\\x", ""])[0], strict=True))

    assert np.expm1(found["log characters"]) == pytest.approx(10)
    assert np.expm1(found["log words"]) == pytest.approx(3)
    assert np.expm1(found["log numbers"]) == pytest.approx(2)
    assert np.expm1(found["log lines"]) == pytest.approx(1)
    assert found["share of digits"] == pytest.approx(0.3)
    assert found["share of punctuation"] == pytest.approx(0.3)
    assert found["mean length of a word"] == pytest.approx(8 / 3)
    assert np.expm1(found["log digits of the longest number"]) == pytest.approx(2)
    assert np.expm1(found["log backslashes"]) == pytest.approx(1)
    assert np.expm1(found["log opening brackets"]) == pytest.approx(1)


def test_form_of_nothing_is_zeros() -> None:
    assert text_form([]).shape == (0, 10)
    assert not text_form([""]).any()
