"""AnnotatedPlanner: plans by looking instructions up."""

from __future__ import annotations

from collections.abc import Sequence

from orchestai_env.errors import PlanningError, shown
from orchestai_env.planning.planner import Plan
from orchestai_env.workflow import Workflow


class AnnotatedPlanner:
    """Plans instructions by looking them up among workflows that are known."""

    name = "annotated"

    def __init__(self, workflows: Sequence[Workflow], task_types: Sequence[str]) -> None:
        """Takes the workflows; of two with the same instruction the first counts."""
        self.task_types = tuple(task_types)
        self._by_instruction = {w.instruction: w for w in reversed(workflows)}

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns the workflow of each instruction.

        Raises:
            PlanningError: an instruction has none.
        """
        plans = []
        for text in instructions:
            if text not in self._by_instruction:
                raise PlanningError(
                    f"planner 'annotated': instruction {shown(text)} is none of the "
                    f"{len(self._by_instruction)} that it knows; add its workflow or use "
                    "another planner"
                )
            workflow = self._by_instruction[text].topologically_sorted()
            plans.append(Plan(workflow=workflow, planner=self.name, confidence=1.0))
        return plans
