"""JsonSchemaCheck: whether an output is a JSON document that a schema describes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestai_env.errors import ConfigError, shown
from orchestai_env.execution.checks.checks import (
    MAX_CHARS,
    PASSED,
    SEARCH_LIMIT_S,
    Verdict,
    compiled_pattern,
    failed,
    too_long,
)
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.workers.worker import CallRequest


class JsonSchemaCheck:
    """Passes outputs that are one JSON document, as RFC 8259 has it, and fit a JSON schema.

    The whole output has to be the document, without a Markdown fence around it. `format` is not
    checked. References stay within the schema, so that nothing is fetched.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Checks the schema.

        Args:
            schema: of the draft that its $schema names, else 2020-12. `patternProperties` is
                refused, since its searches could not be stopped.
        Raises:
            ConfigError: it is no schema, or refers to what is not in it.
            MissingPackageError: the package jsonschema or regex is not installed.
        """
        with needs_extra("live", what="checks by JSON schema"):
            import jsonschema
            import referencing
        self._unresolvable = referencing.exceptions.Unresolvable
        draft = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            draft.check_schema(schema)
        except jsonschema.SchemaError as error:
            place = error.json_path.replace("$", "schema", 1)
            raise ConfigError(f"{place}: expected a JSON schema; {error.message}") from None
        _check_parts(schema)

        def pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
            """Searches as the keyword `pattern` does, and can be stopped."""
            if not isinstance(instance, str):
                return
            if not compiled_pattern(pattern).search(instance, timeout=SEARCH_LIMIT_S):
                yield jsonschema.ValidationError(f"expected text that matches {shown(pattern)}")

        limited = jsonschema.validators.extend(draft, {"pattern": pattern})
        self._validator = limited(schema, registry=referencing.Registry())

    async def __call__(self, request: CallRequest, text: str) -> Verdict:
        """Judges what a worker wrote for a request."""
        return await asyncio.to_thread(self._judged, text)

    def _judged(self, text: str) -> Verdict:
        if len(text) > MAX_CHARS:
            return too_long(text)
        try:
            document = json.loads(text, parse_constant=_refuse)
            fault = next(iter(self._validator.iter_errors(document)), None)
        except ValueError as error:
            return failed(f"expected JSON, got {shown(text)}: {error}")
        except RecursionError:
            return failed("expected JSON that is not nested as deeply")
        except TimeoutError:
            return failed(f"the search for the pattern was stopped after {SEARCH_LIMIT_S:g} s")
        if fault is None:
            return PASSED
        return failed(f"{fault.json_path}: {shown(fault.message)}")


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _check_parts(schema: Mapping[str, Any]) -> None:
    """Compiles all patterns, and follows all references, of a schema."""
    import referencing.jsonschema

    resource = referencing.Resource.from_contents(
        schema, default_specification=referencing.jsonschema.DRAFT202012
    )
    resolver = referencing.Registry().with_resource("", resource).resolver()
    for place, key, value in _members(schema, "schema"):
        if key == "patternProperties":
            raise ConfigError(f"{place}: this keyword is not supported; take it out")
        if key == "pattern" and isinstance(value, str):
            try:
                compiled_pattern(value)
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from None
        if key in ("$ref", "$dynamicRef") and isinstance(value, str):
            if not value.startswith("#"):
                raise ConfigError(f"{place}: expected a reference like #/$defs/x, got {value!r}")
            try:
                resolver.lookup(value)
            except referencing.exceptions.Unresolvable:
                raise ConfigError(f"{place}: the schema has no {value!r}") from None


def _members(part: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """Yields (place, key, value) of all mappings within a schema."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield f"{place}.{key}", key, value
            yield from _members(value, f"{place}.{key}")
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from _members(value, f"{place}[{i}]")
