"""Worker: the protocol of what answers calls, and the records that go in and out."""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol, runtime_checkable

from orchestai_env.errors import OrchestAIError

Fault = Literal[
    "rate_limit", "server", "timeout", "connection", "malformed", "refused", "circuit_open"
]
"""Why a call gave no answer: HTTP 429; 5xx; no answer in time; no or a broken connection; an answer
that cannot be read; a request that the worker will never take (4xx); a worker that is left alone
because its last calls failed."""

PASSING_FAULTS: frozenset[Fault] = frozenset(
    {"rate_limit", "server", "timeout", "connection", "malformed"}
)
"""Faults that another try may not meet."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallRequest:
    """What a worker is asked to do: one attempt at one subtask."""

    instruction: str
    """Of the whole workflow."""
    subtask: str
    """What is to be done, as text."""
    task_type: str
    inputs: tuple[str, ...] = ()
    """Outputs of the subtasks that it depends on, in their order."""
    workflow_id: str = ""
    index: int = 0
    """Subtask of the workflow, from 0."""
    attempt: int = 0
    """0 for the first call on the subtask."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens of one call."""

    input_tokens: int
    """All of the prompt, cached ones included."""
    output_tokens: int
    """All that was generated, reasoning included."""
    cached_tokens: int = 0
    """Of input_tokens: those that the provider had cached."""
    reasoning_tokens: int = 0
    """Of output_tokens: those spent on reasoning that is not shown."""
    is_estimated: bool = False
    """Whether the worker did not report them and they were counted here."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a worker answered."""

    text: str
    usage: Usage


class WorkerCallError(OrchestAIError, RuntimeError):
    """A call gave no answer; the message never holds a key."""

    def __init__(
        self,
        message: str,
        *,
        fault: Fault,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Takes what happened.

        Args:
            message: one line; names the worker.
            fault: why.
            retry_after_s: seconds to wait, where the worker said so.
            usage: tokens that are charged all the same, where they are known.
        """
        super().__init__(message)
        self.fault, self.retry_after_s, self.usage = fault, retry_after_s, usage


@runtime_checkable
class Worker(Protocol):
    """Anything that answers calls; one object serves many calls at once."""

    @property
    def name(self) -> str:
        """Name, as the pool, the log and messages give it."""

    async def call(self, request: CallRequest) -> Answer:
        """Answers one call, once: whoever asks decides about timeouts and further tries.

        Raises:
            WorkerCallError: there is no answer.
        """

    async def close(self) -> None:
        """Gives back connections and memory; no call follows."""
