"""What an OpenAI-compatible endpoint answered: a chat completion, read from JSON as it came."""

from __future__ import annotations

import json
from typing import Any

from orchestai_env.execution.workers.keys import said
from orchestai_env.execution.workers.prompt import whole
from orchestai_env.execution.workers.tokens import CountTokens, counted_usage, reported_usage
from orchestai_env.execution.workers.worker import Answer, WorkerCallError


def answer_of(body: bytes, prompt: str, name: str, key: str, count_tokens: CountTokens) -> Answer:
    """Reads the answer to one prompt.

    The JSON is read here, not by the client: that builds records of the wrong types in silence.

    Args:
        body: of the response with status 200.
        prompt: what was sent, for tokens that are not reported.
        name: of the worker.
        key: hidden in what the server says.
        count_tokens: counts those tokens.
    Raises:
        WorkerCallError: it holds no text; usage that was reported goes with the error.
    """
    completion = _parsed(body)
    reported = completion.get("usage") if isinstance(completion, dict) else None
    usage = reported_usage(reported)
    message, finish = _first_message(completion)
    content = message.get("content")
    if not isinstance(content, str):
        refusal = message.get("refusal")
        if isinstance(refusal, str) or finish == "content_filter":
            said_no = f"worker {name!r}: it refuses: {said(refusal or 'content filter', key)}"
            raise WorkerCallError(said_no, fault="refused", usage=usage)
        what = f"worker {name!r}: expected a chat completion with text, got"
        got = said(body.decode("utf-8", "replace"), key)
        raise WorkerCallError(f"{what} {got}", fault="malformed", usage=usage)
    text = whole(content)
    if usage is None or (text and usage.output_tokens == 0):
        usage = counted_usage(prompt, text, count_tokens)
    return Answer(text=text, usage=usage)


def _parsed(body: bytes) -> Any:
    """Returns the JSON; None where it is broken or nested too deep."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first_message(completion: Any) -> tuple[dict[str, Any], Any]:
    """Returns message and finish_reason of the first choice; an empty one where it has none."""
    choices = completion.get("choices") if isinstance(completion, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return {}, None
    message = choice.get("message")
    return message if isinstance(message, dict) else {}, choice.get("finish_reason")
