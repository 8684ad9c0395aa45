"""LanguageModelPlanner: asks a language model for a plan, and believes none of its replies."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from orchestai_env.errors import (
    ConfigError,
    PlanningError,
    WorkflowError,
    shown,
    unknown_name,
)
from orchestai_env.planning.planner import Plan
from orchestai_env.workflow import Subtask, Workflow

MAX_REPLY = 100_000
"""Longest reply that is read [characters]; chosen: 20 subtasks of 5,000 characters each."""

_MAX_REFUSAL = 300  # characters; chosen: a reason quotes what it refuses
_MAX_KEPT = 10_000  # plans; chosen: some 20 MB
_FENCED = re.compile(r"```\w*\s*(.*?)```", re.DOTALL)

_FORMAT = """\
Split an instruction into subtasks. Several workers will carry them out, each subtask by one \
worker, side by side where no link forbids it.

Reply with one JSON object and nothing else:
{{"subtasks": [{{"name": "what is to be done", "type": "task type"}}, ...], \
"links": [[from, to], ...]}}
- subtasks: 1 to {max_subtasks}, as few as the instruction needs.
- type: one of {task_types}.
- links: [i, j] says that subtask j needs the result of subtask i. Subtasks count from 0, and no \
link may close a cycle.
"""


class LanguageModelPlanner:
    """Plans with any function that maps a prompt to a reply, such as a call of a language model.

    A reply is data: it is read as JSON, checked, and never run. A reply that is no plan is refused,
    and the model is asked again with the reason. Plans are kept, so that the same instruction costs
    one call and always has the same plan.
    """

    def __init__(
        self,
        complete: Callable[[str], str],
        *,
        task_types: Sequence[str],
        max_subtasks: int = 20,
        examples: Sequence[Workflow] = (),
        max_tries: int = 2,
    ) -> None:
        """Takes the model and what its plans must look like.

        Args:
            complete: maps a prompt to the text of the reply; time-outs and repeated calls after
                failures of the connection are its own matter.
            task_types: vocabulary of the plans, at least one.
            max_subtasks: largest size of a plan, >= 1.
            examples: workflows that the prompt shows as they should be planned.
            max_tries: replies asked for per instruction, >= 1.
        Raises:
            ConfigError: no task type, or a number is out of range.
            WorkflowError: an example is no plan of this vocabulary and size.
        """
        if not task_types or max_subtasks < 1 or max_tries < 1:
            raise ConfigError(
                "expected at least one of task_types, max_subtasks >= 1 and max_tries >= 1, got "
                f"{len(task_types)}, {max_subtasks} and {max_tries}"
            )
        self.name = "language model"
        self.task_types = tuple(task_types)
        self.max_subtasks, self.max_tries = max_subtasks, max_tries
        self._complete = complete
        self._kept: dict[str, Plan] = {}
        known = ", ".join(map(_quoted, task_types))
        parts = [_FORMAT.format(max_subtasks=max_subtasks, task_types=known)]
        for example in examples:
            self._check(example.validate())
            parts.append(f"{_request(example.instruction)}\nReply: {_answer(example)}\n")
        self._head = "\n".join(parts)

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction; the model is asked for one after the other.

        Raises:
            PlanningError: the model failed, or none of its replies was a plan.
        """
        return [self._kept.get(text) or self._planned(text) for text in instructions]

    def prompt(self, instruction: str, refusal: str | None = None) -> str:
        """Returns what the model is asked; refusal: why its last reply was no plan."""
        again = "" if refusal is None else f"Your last reply was refused: {refusal}\n"
        return f"{self._head}\n{_request(instruction)}\n{again}Reply:"

    def _planned(self, instruction: str) -> Plan:
        place = f"planner {self.name!r}, instruction {shown(instruction)}"
        refusal = None
        for _ in range(self.max_tries):
            try:
                reply = self._complete(self.prompt(instruction, refusal))
            except Exception as error:
                raise PlanningError(
                    f"{place}: the call failed with {type(error).__name__}: {shown(str(error))}"
                ) from error
            try:
                workflow = self._read(reply, instruction)
            except WorkflowError as error:
                refusal = " ".join(str(error).split())[:_MAX_REFUSAL]
            else:
                return self._keep(Plan(workflow=workflow, planner=self.name, confidence=1.0))
        raise PlanningError(f"{place}: no plan in {self.max_tries} replies; the last: {refusal}")

    def _keep(self, plan: Plan) -> Plan:
        if len(self._kept) == _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[plan.workflow.instruction] = plan
        return plan

    def _read(self, reply: Any, instruction: str) -> Workflow:
        """Reads the plan out of a reply.

        Raises:
            WorkflowError: there is none, or it is none of this vocabulary and size.
        """
        given = {"links": []} | _json_object(reply) | {"id": "plan", "instruction": instruction}
        workflow = Workflow.from_dict(given)
        subtasks = tuple(Subtask(name=_clean(s.name), type=s.type) for s in workflow.subtasks)
        workflow = dataclasses.replace(workflow, subtasks=subtasks)
        self._check(workflow)
        return workflow.topologically_sorted()

    def _check(self, workflow: Workflow) -> None:
        if len(workflow.subtasks) > self.max_subtasks:
            raise WorkflowError(
                f"workflow {workflow.id!r}: expected at most {self.max_subtasks} subtasks, got "
                f"{len(workflow.subtasks)}"
            )
        for i, subtask in enumerate(workflow.subtasks):
            place = f"workflow {workflow.id!r}, subtask {i}"
            if subtask.type not in self.task_types:
                raise WorkflowError(
                    f"{place}: {unknown_name('task type', subtask.type, self.task_types)}"
                )
            if not subtask.name:
                raise WorkflowError(f"{place}: expected a name that says what is to be done")


def _json_object(reply: Any) -> dict[str, Any]:
    """Returns the first JSON object of a reply, which may stand in a fence or after other words.

    Raises:
        WorkflowError: there is none.
    """
    if not isinstance(reply, str):
        raise WorkflowError(f"expected a reply in text, got {shown(reply)}")
    if len(reply) > MAX_REPLY:
        raise WorkflowError(f"expected at most {MAX_REPLY:,} characters, got {len(reply):,}")
    fenced = _FENCED.search(reply)
    text = reply if fenced is None else fenced.group(1)
    start = text.find("{")
    if start < 0:
        raise WorkflowError(f"expected a JSON object, got {shown(reply)}")
    try:
        data: dict[str, Any] = json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"expected a JSON object, got text that breaks: {error}") from None
    return data


def _clean(name: str) -> str:
    """Returns a name without the halves of characters that JSON can hold and files cannot."""
    return name.encode(errors="ignore").decode().strip()


def _request(instruction: str) -> str:
    """Quotes an instruction, so that its end is plain to see whatever it says."""
    return f"Instruction: {_quoted(instruction)}"


def _answer(workflow: Workflow) -> str:
    """Returns a plan in the form that replies have."""
    subtasks = [{"name": subtask.name, "type": subtask.type} for subtask in workflow.subtasks]
    return json.dumps(
        {"subtasks": subtasks, "links": [list(link) for link in workflow.links]}, ensure_ascii=False
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
