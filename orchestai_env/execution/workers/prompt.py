"""What workers are told: one prompt for one call."""

from __future__ import annotations

from orchestai_env.execution.workers.worker import CallRequest


def prompt_text(request: CallRequest) -> str:
    """Returns the prompt of one call, the same for every worker and attempt.

    It says the goal of the whole workflow, the results that the subtask builds on, numbered, and
    the subtask with its type; a part that is empty is left out.
    """
    parts = []
    if request.instruction.strip() and request.instruction != request.subtask:
        parts.append(f"Overall goal: {request.instruction}")
    if request.inputs:
        results = (f"[{i}] {text}" for i, text in enumerate(request.inputs, start=1))
        parts.append("Results of earlier subtasks:\n" + "\n".join(results))
    parts.append(
        f"Your subtask ({request.task_type}): {request.subtask}\n"
        "Answer with the result of this subtask only."
    )
    return whole("\n\n".join(parts))


def whole(text: str) -> str:
    """Returns a text that UTF-8 can hold: lone surrogates, which JSON may bring, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
