from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from orchestai_env.errors import ConfigError
from orchestai_env.execution.checks import checks, json_check
from orchestai_env.execution.checks.checks import (
    MAX_CHARS,
    PASSED,
    CallableCheck,
    Check,
    ExactMatchCheck,
    JudgeCheck,
    NonEmptyCheck,
    RegexCheck,
    Verdict,
)
from orchestai_env.execution.checks.json_check import JsonSchemaCheck
from orchestai_env.execution.workers.worker import Answer, CallRequest, WorkerCallError
from tests.orchestai_env.execution.scripted_worker import REQUEST, USAGE, ScriptedWorker

EXPLODING = r"(a|aa)+$"
SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"$ref": "#/$defs/age"},
        "code": {"pattern": "x"},
    },
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


def judged(check: Check, text: str, request: CallRequest = REQUEST) -> Verdict:
    assert isinstance(check, Check)
    verdict = asyncio.run(check(request, text))
    assert 0.0 <= verdict.quality <= 1.0
    assert (verdict.reason == "") == verdict.success
    assert "\n" not in verdict.reason
    return verdict


@pytest.mark.parametrize(("text", "success"), [("42", True), ("", False), (" \n\t", False)])
def test_non_empty_check_wants_more_than_white_space(text, success):
    assert judged(NonEmptyCheck(), text).success == success


@pytest.mark.parametrize(
    ("pattern", "text", "success"),
    [
        ("b+", "abbc", True),
        ("^b+$", "abbc", False),
        (r"(?i)\byes\b", "Well, YES.", True),
        (r"(?s)<a>.*</a>", "<a>\n</a>", True),
        (r"^-?\d+$", "-42", True),
    ],
)
def test_regex_check_searches_as_pythons_re_does(pattern, text, success):
    assert judged(RegexCheck(pattern), text).success == success


def test_regex_check_says_what_it_expected():
    reason = judged(RegexCheck("^b$"), "aaa").reason
    assert reason == "expected text that matches '^b$', got 'aaa'"


@pytest.fixture
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checks, json_check):
        monkeypatch.setattr(module, "SEARCH_LIMIT_S", 0.125)


@pytest.mark.usefixtures("short_searches")
@pytest.mark.parametrize(
    ("check", "text"),
    [
        (RegexCheck(EXPLODING), "a" * 100 + "b"),
        (JsonSchemaCheck({"items": {"pattern": EXPLODING}}), '["' + "a" * 100 + 'b"]'),
    ],
    ids=["regex", "json_schema"],
)
def test_search_that_explodes_is_stopped(check, text):
    assert judged(check, text).reason == "the search for the pattern was stopped after 0.125 s"


def test_output_beyond_the_limit_is_not_searched():
    text = "b" * (MAX_CHARS + 1)
    for check in (RegexCheck("b"), JsonSchemaCheck({})):
        assert judged(check, text).reason == (
            f"expected an output of at most {MAX_CHARS} characters, got {MAX_CHARS + 1}"
        )
    assert judged(RegexCheck("b"), text[1:]).success


def test_pattern_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="pattern: expected a regular expression, got missing"):
        RegexCheck("(")


@pytest.mark.parametrize(
    ("text", "success"),
    [
        ("Paris", True),
        ("  PARIS\n", True),
        ("\uff30aris", True),  # a full-width P
        ("Paris.", False),
        ("It is Paris", False),
    ],
)
def test_exact_match_check_compares_normalised_texts(text, success):
    assert judged(ExactMatchCheck("paris"), text).success == success


def test_exact_match_check_knows_an_answer_for_every_subtask():
    check = ExactMatchCheck({"first": "new york", "second": "Rome"})
    assert judged(check, "New  York").success
    assert not judged(check, "Rome").success
    unknown = judged(check, "Rome", dataclasses.replace(REQUEST, subtask="third"))
    assert unknown.reason == "no expected output is known for subtask 'third'"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (True, PASSED),
        (np.True_, PASSED),
        (0.75, Verdict(success=True, quality=0.75)),
        (np.float32(0.25), Verdict(success=False, quality=0.25, reason="check check says 0.25")),
        (False, Verdict(success=False, quality=0.0, reason="check check says False")),
        (PASSED, PASSED),
    ],
)
def test_callable_check_takes_what_the_callable_says(value, verdict):
    def check(request: CallRequest, text: str) -> object:
        assert (request, text) == (REQUEST, "out")
        return value

    check.__qualname__ = "check"
    assert judged(CallableCheck(check), "out") == verdict


@pytest.mark.parametrize("value", [None, "yes", 1.5, float("nan"), -1])
def test_callable_that_returns_something_else_fails_the_output(value):
    reason = judged(CallableCheck(lambda request, text: value), "out").reason
    assert "expected a Verdict, a bool or a quality 0..1, got" in reason


@pytest.mark.parametrize("error", [ValueError("no\nnumber"), StopIteration("done"), SystemExit(3)])
def test_callable_that_raises_fails_the_output(error):
    def check(request: CallRequest, text: str) -> bool:
        raise error

    assert f"raised {type(error).__name__}: " in judged(CallableCheck(check), "out").reason


def test_callable_check_awaits_coroutines():
    class Later:
        async def __call__(self, request: CallRequest, text: str) -> bool:
            await asyncio.sleep(0)
            if not text:
                raise ValueError("empty")
            return True

    assert judged(CallableCheck(Later()), "out").success
    assert judged(CallableCheck(Later().__call__), "out").success
    assert "raised ValueError: 'empty'" in judged(CallableCheck(Later()), "").reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"name": "Ada", "age": 36}', ""),
        ('{"name": "Ada", "code": 7}', ""),
        (' \n{"name": "Ada"}\n', ""),
        ('{"age": 36}', "$: \"'name' is a required property\""),
        ('{"name": "Ada", "age": -1}', "$.age: '-1 is less than the minimum of 0'"),
        ('{"name": "ada"}', "$.name: \"expected text that matches '^[A-Z]'\""),
        ('{"name": 1}', "$.name: \"1 is not of type 'string'\""),
    ],
)
def test_json_check_compares_documents_with_the_schema(text, reason):
    assert judged(JsonSchemaCheck(SCHEMA), text).reason == reason


@pytest.mark.parametrize("text", ["", "Ada", '```json\n{"name": "Ada"}\n```', "NaN", "[1,]"])
def test_json_check_wants_nothing_but_a_document(text):
    assert judged(JsonSchemaCheck({}), text).reason.startswith("expected JSON, got ")


def test_json_check_survives_deep_documents():
    reason = judged(JsonSchemaCheck(SCHEMA), "[" * 100_000).reason
    assert reason == "expected JSON that is not nested as deeply"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objekt"}, r"schema\.type: expected a JSON schema; 'objekt'"),
        ({"items": {"pattern": "("}}, r"schema\.items\.pattern: expected a JSON schema"),
        ({"items": {"pattern": "a{2}{e<"}}, r"schema\.items\.pattern: pattern: expected a regular"),
        (
            {"properties": {"a": {"$ref": "http://a.invalid/b"}}},
            r"schema\.properties\.a\.\$ref: expected a reference like #/\$defs/x",
        ),
        ({"anyOf": [{"$ref": "#/$defs/b"}]}, r"schema\.anyOf\[0\]\.\$ref: the schema has no"),
        ({"patternProperties": {"^a": {}}}, r"schema\.patternProperties: .* is not supported"),
    ],
)
def test_schema_that_is_none_is_refused(schema, message):
    with pytest.raises(ConfigError, match=message):
        JsonSchemaCheck(schema)


def judge(reply: str) -> ScriptedWorker:
    return ScriptedWorker("judge", [Answer(text=reply, usage=USAGE)], seconds=0.0)


@pytest.mark.parametrize(
    ("reply", "success", "quality"),
    [("1", True, 1.0), ("0.5\n", True, 0.5), (" 0.49", False, 0.49), ("0", False, 0.0)],
)
def test_judge_check_takes_the_score(reply, success, quality):
    verdict = judged(JudgeCheck(judge(reply)), "out")
    assert (verdict.success, verdict.quality) == (success, quality)


@pytest.mark.parametrize(
    "reply", ["", "1.1", "-0", "0.9!", "Score: 1", "1e0", "nan", "0.\u0661", "8/10"]
)
def test_reply_of_a_judge_that_is_no_score_fails_the_output(reply):
    verdict = judged(JudgeCheck(judge(reply), threshold=0.0), "out")
    assert not verdict.success
    assert "judge judge: expected a number 0..1 alone, got" in verdict.reason


def test_judge_that_does_not_answer_fails_the_output():
    error = WorkerCallError("judge: HTTP 500", fault="server")
    verdict = judged(JudgeCheck(ScriptedWorker("judge", [error], seconds=0.0)), "out")
    assert verdict.reason == "judge judge gave no answer: judge: HTTP 500"


def test_judge_is_asked_the_prompt_with_each_part_put_in_once():
    asked: list[CallRequest] = []

    class Judge(ScriptedWorker):
        async def call(self, request: CallRequest) -> Answer:
            asked.append(request)
            return Answer(text="1", usage=USAGE)

    prompt = "{instruction}|{subtask}|{output}|{other}"
    request = dataclasses.replace(REQUEST, workflow_id="w7", inputs=("secret",))
    assert judged(JudgeCheck(Judge("judge"), prompt=prompt), "{subtask} {0}", request).success
    assert asked == [
        CallRequest(
            instruction="",
            subtask="do it|first|{subtask} {0}|{other}",
            task_type="judge",
            workflow_id="w7",
        )
    ]


def test_prompt_of_a_judge_without_a_place_for_the_output_is_refused():
    with pytest.raises(ConfigError, match=r"prompt: expected \{output\} somewhere in it"):
        JudgeCheck(judge("1"), prompt="Rate it")
