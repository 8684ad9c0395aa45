from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import Any

import pytest
import yaml

from orchestai_env.errors import ConfigError, MissingPackageError
from orchestai_env.execution.checks.check_settings import Checks, load_checks
from orchestai_env.execution.workers.worker import Answer, CallRequest
from tests.orchestai_env.execution.scripted_worker import REQUEST, USAGE, ScriptedWorker

DECLARED = r"""
default: {kind: non_empty}
math: {kind: regex, pattern: '^-?\d+$'}
extraction: {kind: json_schema, json_schema: {type: object, required: [name]}}
coding:
  kind: callable
  function: "tests.orchestai_env.execution.checks.test_check_settings:is_code"
trivia: {kind: exact_match, expected: {first: Paris}}
summary: {kind: judge, worker: mini, threshold: 0.7}
"""


def is_code(request: CallRequest, text: str) -> bool:
    """A check that DECLARED names."""
    return text.startswith("def ")


def loaded(text: str, **judges: ScriptedWorker) -> Checks:
    return load_checks(yaml.safe_load(text), where="run.yaml: checks", judges=judges)


@pytest.mark.parametrize(
    ("task_type", "right", "wrong"),
    [
        ("math", "-42", "about 42"),
        ("extraction", '{"name": 1}', "{}"),
        ("coding", "def f(): ...", "f"),
        ("trivia", "paris", "Rome"),
        ("summary", "right", "wrong"),
        ("anything else", "out", " "),
    ],
)
def test_checks_judge_outputs_by_their_task_type(task_type, right, wrong):
    replies = [Answer(text=score, usage=USAGE) for score in ("0.7", "0.6")]
    checks = loaded(DECLARED, mini=ScriptedWorker("mini", replies, seconds=0.0))
    request = dataclasses.replace(REQUEST, task_type=task_type)
    verdicts = [asyncio.run(checks(request, text)) for text in (right, wrong)]
    assert [verdict.success for verdict in verdicts] == [True, False]


def test_checks_without_a_default_want_an_output():
    assert not asyncio.run(loaded("{}")(REQUEST, "")).success


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("math: non_empty", r"expected a check like \{kind: non_empty\}, got 'non_empty'"),
        ("math: {pattern: a}", r"expected a check like \{kind: non_empty\}"),
        ("math: {kind: regexp}", "unknown kind of check 'regexp'. Did you mean 'regex'"),
        ("math: {kind: [regex]}", "unknown kind of check"),
        ("math: {kind: regex, pattern: a, flag: i}", "flag: unknown key 'flag'"),
        ("math: {kind: regex}", "pattern: this key is required; add it"),
        ("math: {kind: regex, pattern: '('}", "pattern: expected a regular expression"),
        ("math: {kind: json_schema, json_schema: {type: 3}}", r"schema\.type: expected a JSON"),
        ("math: {kind: callable, function: 'nowhere:f'}", "function 'nowhere:f': expected"),
        ("math: {kind: judge, worker: large}", "unknown worker 'large'"),
        ("math: {kind: judge, worker: mini, threshold: 2}", "threshold: .* got 2"),
        ("math: {kind: judge, worker: mini, prompt: Rate it}", "prompt: expected"),
    ],
)
def test_wrong_check_is_refused_with_its_place(declared: str, message: str):
    with pytest.raises(ConfigError, match=f"^run.yaml: checks: math: {message}"):
        loaded(declared, mini=ScriptedWorker("mini"))


@pytest.mark.parametrize(
    ("package", "settings", "what"),
    [
        ("regex", {"kind": "regex", "pattern": "a"}, "checks by pattern"),
        ("jsonschema", {"kind": "json_schema", "json_schema": {}}, "checks by JSON schema"),
    ],
)
def test_check_whose_package_is_missing_says_how_to_install_it(
    package: str, settings: dict[str, Any], what: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"^{what} need {package}.*orchestai-env\[live"):
        load_checks({"math": settings}, where="run.yaml: checks")
