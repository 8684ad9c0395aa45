"""FallbackPlanner: plans with one planner, and with another where the first is not sure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from orchestai_env.errors import ConfigError, PlanningError, shown
from orchestai_env.planning.planner import Plan, Planner, plans_of


class FallbackPlanner:
    """Plans with `first`; with `fallback` what `first` cannot plan or is not sure of.

    Plans of the fallback say why in `fallback_reason`. Fallbacks nest: the fallback of one may have
    its own.
    """

    def __init__(self, first: Planner, fallback: Planner, min_confidence: float) -> None:
        """Joins two planners.

        Args:
            first: plans every instruction.
            fallback: plans those on which `first` raised PlanningError, or whose plan has a
                confidence below `min_confidence`.
            min_confidence: 0..1; 0 leaves only the errors.
        Raises:
            ConfigError: min_confidence is out of range.
        """
        if not 0.0 <= min_confidence <= 1.0:
            raise ConfigError(f"min_confidence: expected 0..1, got {shown(min_confidence)}")
        self.first, self.fallback, self.min_confidence = first, fallback, min_confidence
        self.name = f"{first.name}, else {fallback.name}"
        self.task_types = tuple(dict.fromkeys((*first.task_types, *fallback.task_types)))

    def plan(self, instructions: Sequence[str]) -> list[Plan]:
        """Returns one plan per instruction, each made by the one planner or the other.

        If `first` refuses a batch, it is asked again with one instruction at a time.

        Raises:
            PlanningError: the fallback cannot plan either.
        """
        answers = self._ask_first(instructions)
        reasons = {k: self._reason(answer) for k, answer in enumerate(answers)}
        left = [k for k, reason in reasons.items() if reason is not None]
        plans = {k: answer for k, answer in enumerate(answers) if isinstance(answer, Plan)}
        for k, plan in zip(left, self._ask_fallback(instructions, left, reasons), strict=True):
            why = "; ".join(filter(None, (reasons[k], plan.fallback_reason)))
            plans[k] = dataclasses.replace(plan, fallback_reason=why)
        return [plans[k] for k in range(len(instructions))]

    def _ask_first(self, instructions: Sequence[str]) -> list[Plan | PlanningError]:
        try:
            return list(plans_of(self.first, instructions))
        except PlanningError as error:
            if len(instructions) == 1:
                return [error]
        return [self._ask_first([instruction])[0] for instruction in instructions]

    def _reason(self, answer: Plan | PlanningError) -> str | None:
        """Returns why the answer of the first planner is not taken; None where it is."""
        if isinstance(answer, PlanningError):
            return str(answer)
        if answer.confidence < self.min_confidence:
            return f"confidence {answer.confidence:.3g} below {self.min_confidence:g}"
        return None

    def _ask_fallback(
        self, instructions: Sequence[str], left: Sequence[int], reasons: dict[int, str | None]
    ) -> list[Plan]:
        if not left:
            return []
        try:
            return plans_of(self.fallback, [instructions[k] for k in left])
        except PlanningError as error:
            raise PlanningError(
                f"{error}; it was asked since planner {self.first.name!r} left "
                f"{len(left)} of {len(instructions)} instructions, the first for: "
                f"{reasons[left[0]]}"
            ) from None
