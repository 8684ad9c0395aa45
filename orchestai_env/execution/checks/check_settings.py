"""load_checks: the checks of a user, declared in YAML.

    checks:
      default: {kind: non_empty}
      math: {kind: regex, pattern: '^-?[0-9]+$'}
      extraction: {kind: json_schema, json_schema: {type: object, required: [name]}}
      coding: {kind: callable, function: "my_package.checks:compiles"}
      trivia: {kind: exact_match, expected: {"Capital of France?": Paris}}
      summary: {kind: judge, worker: mini, threshold: 0.7}

Keys are task types; `default` is for all others, and `non_empty` where it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from orchestai_env.errors import ConfigError, shown, unknown_name
from orchestai_env.execution.checks.checks import (
    JUDGE_PROMPT,
    CallableCheck,
    Check,
    ExactMatchCheck,
    JudgeCheck,
    NonEmptyCheck,
    RegexCheck,
    Verdict,
)
from orchestai_env.execution.checks.json_check import JsonSchemaCheck
from orchestai_env.execution.workers.function_worker import load_function
from orchestai_env.execution.workers.worker import CallRequest, Worker
from orchestai_env.settings import StrictSettings, parse_settings


class Checks:
    """The check of every task type; itself a check."""

    def __init__(
        self, by_type: Mapping[str, Check] | None = None, *, default: Check | None = None
    ) -> None:
        """Takes checks.

        Args:
            by_type: by task type.
            default: of all other task types; `NonEmptyCheck` where None.
        """
        self._by_type, self._default = dict(by_type or {}), default or NonEmptyCheck()

    def of(self, task_type: str) -> Check:
        """Returns the check of a task type."""
        return self._by_type.get(task_type, self._default)

    async def __call__(self, request: CallRequest, text: str) -> Verdict:
        """Judges what a worker wrote for a request, by the check of its task type."""
        return await self.of(request.task_type)(request, text)


def load_checks(
    settings: Mapping[str, Any], *, where: str, judges: Mapping[str, Worker] | None = None
) -> Checks:
    """Builds checks from settings.

    Args:
        settings: {task type or "default": {kind: ..., ...}}, as YAML gives it.
        where: file and key that the settings came from, for messages.
        judges: workers that checks of kind judge may name.
    Raises:
        ConfigError: a kind, key, pattern, schema, callable or judge is wrong; the message has its
            place.
        MissingPackageError: a package that a check needs is not installed.
    """
    checks = {
        task_type: _built(entry, f"{where}: {task_type}", judges or {})
        for task_type, entry in settings.items()
    }
    default = checks.pop("default", None)
    return Checks(checks, default=default)


class _NonEmpty(StrictSettings):
    kind: Literal["non_empty"]

    def build(self, judges: Mapping[str, Worker]) -> Check:
        return NonEmptyCheck()


class _Regex(StrictSettings):
    kind: Literal["regex"]
    pattern: str
    """In the syntax of the package regex; found anywhere in the output."""

    def build(self, judges: Mapping[str, Worker]) -> Check:
        return RegexCheck(self.pattern)


class _JsonSchema(StrictSettings):
    kind: Literal["json_schema"]
    json_schema: dict[str, Any]

    def build(self, judges: Mapping[str, Worker]) -> Check:
        return JsonSchemaCheck(self.json_schema)


class _Callable(StrictSettings):
    kind: Literal["callable"]
    function: str
    """"package.module:name"; it takes (request, text)."""

    def build(self, judges: Mapping[str, Worker]) -> Check:
        function: Any = load_function(self.function)
        return CallableCheck(function)


class _ExactMatch(StrictSettings):
    kind: Literal["exact_match"]
    expected: str | dict[str, str]
    """Of every subtask, or by the text of the subtask."""

    def build(self, judges: Mapping[str, Worker]) -> Check:
        return ExactMatchCheck(self.expected)


class _Judge(StrictSettings):
    kind: Literal["judge"]
    worker: str
    """Name of the worker that is asked."""
    prompt: str = JUDGE_PROMPT
    """{instruction}, {subtask} and {output} are replaced."""
    threshold: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5
    """Lowest score that succeeds."""

    def build(self, judges: Mapping[str, Worker]) -> Check:
        if self.worker not in judges:
            raise ConfigError(unknown_name("worker", self.worker, judges))
        return JudgeCheck(judges[self.worker], prompt=self.prompt, threshold=self.threshold)


_Entry = _NonEmpty | _Regex | _JsonSchema | _Callable | _ExactMatch | _Judge

_KINDS: dict[str, type[_Entry]] = {
    "non_empty": _NonEmpty,
    "regex": _Regex,
    "json_schema": _JsonSchema,
    "callable": _Callable,
    "exact_match": _ExactMatch,
    "judge": _Judge,
}


def _built(entry: Any, where: str, judges: Mapping[str, Worker]) -> Check:
    if not isinstance(entry, Mapping) or "kind" not in entry:
        raise ConfigError(f"{where}: expected a check like {{kind: non_empty}}, got {shown(entry)}")
    kind = _KINDS.get(str(entry["kind"]))
    if kind is None:
        raise ConfigError(f"{where}: {unknown_name('kind of check', entry['kind'], _KINDS)}")
    settings = parse_settings(entry, kind, where=where)
    try:
        return settings.build(judges)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
