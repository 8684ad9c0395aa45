"""Tokens of a call: as the worker reports them, or counted here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.workers.keys import said
from orchestai_env.execution.workers.worker import Usage

CountTokens = Callable[[str], int]
"""Number of tokens in a text, >= 0."""

MAX_TOKENS = 10_000_000
"""A reported count beyond this is not believed; the largest published context window, that of
Llama 4 Scout (Meta, "The Llama 4 herd", April 2025), is as large."""


def estimated_tokens(text: str) -> int:
    """Estimates tokens: a quarter of the bytes in UTF-8, rounded up.

    Source: "1 token ~= 4 chars in English", OpenAI help centre, "What are tokens and how to count
    them?"; bytes instead of characters, since other scripts take more tokens per character.
    """
    return -(-len(text.encode("utf-8", "replace")) // 4)


def token_counter(tokenizer: str) -> CountTokens:
    """Returns the counter that a tokenizer makes; special tokens count.

    Args:
        tokenizer: a tokenizer.json, or a name or folder for transformers' AutoTokenizer.
    Raises:
        ConfigError: it cannot be loaded.
        MissingPackageError: tokenizers or transformers is not installed.
    """
    try:
        with needs_extra("train", what="tokenizers of workers"):
            return _counter(tokenizer)
    except MissingPackageError:
        raise
    except Exception as error:  # the packages raise plain Exception, OSError, ValueError, KeyError
        raise ConfigError(
            f"tokenizer {tokenizer!r}: expected a tokenizer.json, or a name or folder that "
            f"AutoTokenizer loads; it fails with: {said(error)}"
        ) from error


def _counter(tokenizer: str) -> CountTokens:
    if Path(tokenizer).suffix == ".json":
        import tokenizers

        encode = tokenizers.Tokenizer.from_file(tokenizer).encode
        return lambda text: len(encode(text).ids)
    import transformers

    tokenize = transformers.AutoTokenizer.from_pretrained(tokenizer)
    return lambda text: len(tokenize(text)["input_ids"])


def counted_usage(prompt: str, answer: str, count_tokens: CountTokens) -> Usage:
    """Returns the usage of a call whose worker reports none; it is marked as estimated."""
    return Usage(
        input_tokens=count_tokens(prompt), output_tokens=count_tokens(answer), is_estimated=True
    )


def reported_usage(reported: object) -> Usage | None:
    """Reads the `usage` of an OpenAI-compatible answer.

    Some providers (xAI, Gemini) leave reasoning out of completion_tokens; where total_tokens is
    more than prompt and completion, the rest are output tokens spent on reasoning.

    Args:
        reported: JSON as it came.
    Returns:
        The usage; None where counts are missing, no whole numbers, negative or beyond MAX_TOKENS,
        or where the prompt had none. Details that are broken or larger than their whole count as 0.
    """
    if not isinstance(reported, Mapping):
        return None
    sent, made = _count(reported.get("prompt_tokens")), _count(reported.get("completion_tokens"))
    if not sent or made is None:
        return None
    cached = _detail(reported, "prompt_tokens_details", "cached_tokens")
    reasoning = _detail(reported, "completion_tokens_details", "reasoning_tokens")
    hidden = max(0, (_count(reported.get("total_tokens")) or 0) - sent - made)
    made, reasoning = made + hidden, max(reasoning, hidden)
    return Usage(
        input_tokens=sent,
        output_tokens=made,
        cached_tokens=cached if cached <= sent else 0,
        reasoning_tokens=reasoning if reasoning <= made else 0,
    )


def _detail(reported: Mapping[str, object], part: str, name: str) -> int:
    details = reported.get(part)
    return (_count(details.get(name)) or 0) if isinstance(details, Mapping) else 0


def _count(value: object) -> int | None:
    """Returns a believable count; None where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MAX_TOKENS else None
