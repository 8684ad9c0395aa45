"""Tokens that workers report, and tokens that are counted here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.execution.workers.tokens import (
    MAX_TOKENS,
    counted_usage,
    estimated_tokens,
    reported_usage,
    token_counter,
)
from orchestai_env.execution.workers.worker import Usage
from tests.orchestai_env.execution.tiny_language_model import write_tiny_language_model


def test_estimate_is_a_quarter_of_the_bytes() -> None:
    assert [estimated_tokens(text) for text in ("", "a", "four", "fives", "日本語")] == [
        0,
        1,
        1,
        2,
        3,
    ]
    assert estimated_tokens("\ud800") == 1


def test_counted_usage_is_marked() -> None:
    usage = counted_usage("a b c", "d", lambda text: len(text.split()))
    assert usage == Usage(input_tokens=3, output_tokens=1, is_estimated=True)


def test_tokenizers_count(tmp_path: Path) -> None:
    folder = write_tiny_language_model(tmp_path)
    for tokenizer in (folder, folder / "tokenizer.json"):
        assert token_counter(str(tokenizer))("sum the table") == 3


def test_tokenizer_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingPackageError, match=r"need tokenizers.*orchestai-env\[train\]"):
        token_counter("tokenizer.json")


@pytest.mark.parametrize("name", ["absent.json", "absent/folder/of/one"])
def test_tokenizer_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer '.*': expected a tokenizer.json, or a name"):
        token_counter(str(tmp_path / name))


@pytest.mark.parametrize(
    "reported",
    [
        None,
        "many",
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": 0, "completion_tokens": 5},
        {"prompt_tokens": -5, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": -1},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 5.5, "completion_tokens": 5},
        {"prompt_tokens": float("nan"), "completion_tokens": 5},
        {"prompt_tokens": float("inf"), "completion_tokens": 5},
        {"prompt_tokens": MAX_TOKENS + 1, "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 10**30},
    ],
)
def test_usage_that_cannot_be_is_not_taken(reported: object) -> None:
    assert reported_usage(reported) is None


def test_details_that_cannot_be_count_as_none() -> None:
    reported = {
        "prompt_tokens": 5.0,
        "completion_tokens": 5,
        "total_tokens": -3,
        "prompt_tokens_details": {"cached_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": -1},
    }
    assert reported_usage(reported) == Usage(input_tokens=5, output_tokens=5)
    assert reported_usage({**reported, "prompt_tokens_details": [1]}) is not None


def test_reasoning_that_is_only_in_the_total_is_output() -> None:
    # As xAI reports it: 32 + 9 + 94 = 135.
    details = {"completion_tokens_details": {"reasoning_tokens": 94}}
    reported = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}
    expected = Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94)
    assert reported_usage({**reported, **details}) == expected
    assert reported_usage(reported) == expected  # as Gemini does


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
DETAILS = st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens"]), JSON) | JSON
NAMES = st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"])


@given(
    st.dictionaries(NAMES, JSON | st.integers(0, 100)),
    st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "completion_tokens_details"]), DETAILS
    ),
)
def test_usage_is_sound_whatever_is_reported(
    counts: dict[str, object], details: dict[str, object]
) -> None:
    usage = reported_usage({**counts, **details})
    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.input_tokens <= MAX_TOKENS
        assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= 2 * MAX_TOKENS
