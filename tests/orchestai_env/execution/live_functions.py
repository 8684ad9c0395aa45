"""Functions that stand for workers in commands of other processes."""

from __future__ import annotations

import time

from orchestai_env.execution.worker import Answer, CallRequest, Usage


def good(request: CallRequest) -> Answer:
    """Answers soon."""
    time.sleep(0.002)
    return Answer(text=f"did {request.subtask}", usage=Usage(input_tokens=1000, output_tokens=10))


def bad(request: CallRequest) -> Answer:
    """Never answers."""
    raise RuntimeError("out of order")
