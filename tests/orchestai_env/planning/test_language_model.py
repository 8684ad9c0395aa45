"""LanguageModelPlanner takes a good reply and nothing else, whatever a model says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError, PlanningError, WorkflowError
from orchestai_env.planning import LanguageModelPlanner
from orchestai_env.planning.language_model import MAX_REPLY
from orchestai_env.planning.planner import checked_plans
from orchestai_env.workflow import Subtask, Workflow
from tests.orchestai_env.planning.planners import chain

TYPES = ("research", "writing")
TEXT = 'Find the "best" offer,\nthen write a letter.'
GOOD: dict[str, Any] = {
    "subtasks": [{"name": "Find it", "type": "research"}, {"name": "Write", "type": "writing"}],
    "links": [[0, 1]],
}
REPLY = json.dumps(GOOD)


class Script:
    """Replies in the order that is written down, and notes the prompts."""

    def __init__(self, *replies: Any) -> None:
        """Takes the replies; an exception is raised."""
        self.replies, self.prompts = list(replies), list[str]()

    def __call__(self, prompt: str) -> Any:
        """Gives the next reply."""
        self.prompts.append(prompt)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def planner_of(complete: Callable[[str], str], **arguments: Any) -> LanguageModelPlanner:
    """Returns a planner of two task types and at most three subtasks."""
    settings: dict[str, Any] = {"task_types": TYPES, "max_subtasks": 3} | arguments
    return LanguageModelPlanner(complete, **settings)


def changed(**parts: Any) -> str:
    """Returns the good reply with other parts."""
    return json.dumps(GOOD | parts)


WORDED = {
    "plain": REPLY,
    "fenced": f"```json\n{REPLY}\n```",
    "bare fence": f"```\n{REPLY}```",
    "words around": f"Here is {{the}} plan:\n```json\n{REPLY}\n```\nAnything else? {{}}",
    "words, no fence": f"Sure! {REPLY} Done.",
    "open fence": f"```json\n{REPLY}",
    "more keys": changed(id=3, instruction="another", thoughts=["x"]),
}


@pytest.mark.parametrize("reply", WORDED.values(), ids=WORDED)
def test_plan_is_read_out_of_a_reply(reply: str) -> None:
    script = Script(reply)
    (plan,) = planner_of(script).plan([TEXT])

    assert plan.workflow == Workflow(
        id="plan",
        instruction=TEXT,
        subtasks=(
            Subtask(name="Find it", type="research"),
            Subtask(name="Write", type="writing"),
        ),
        links=((0, 1),),
    )
    assert (plan.planner, plan.confidence, plan.fallback_reason) == ("language model", 1.0, None)
    assert len(script.prompts) == 1


def test_subtasks_are_sorted_and_lose_what_is_not_theirs() -> None:
    subtasks = [
        {"name": " Write \ud800", "type": "writing", "query_id": "q"},
        {"name": "Find it", "type": "research"},
    ]
    (plan,) = planner_of(Script(changed(subtasks=subtasks, links=[[1, 0], [1, 0]]))).plan([TEXT])

    assert [subtask.name for subtask in plan.workflow.subtasks] == ["Find it", "Write"]
    assert plan.workflow.subtasks[1].query_id is None
    assert plan.workflow.links == ((0, 1),)


def test_links_may_be_left_out() -> None:
    (plan,) = planner_of(Script(json.dumps({"subtasks": GOOD["subtasks"]}))).plan([TEXT])
    assert plan.workflow.links == ()


WRONG: dict[str, tuple[Any, str]] = {
    "empty": ("", "expected a JSON object, got ''"),
    "words": ("I cannot do that.", "expected a JSON object, got 'I cannot do that.'"),
    "list": ("[1, 2]", "expected a JSON object, got '[1, 2]'"),
    "broken": (REPLY[:-4], "expected a JSON object, got text that breaks"),
    "code": ("{__import__('os')}", "expected a JSON object, got text that breaks"),
    "deep": ('{"subtasks":' + "[" * 90_000, "expected a JSON object, got text that breaks"),
    "number": ('{"subtasks": ' + "9" * 9_000 + "}", "expected a JSON object, got text that breaks"),
    "huge": (REPLY + " " * MAX_REPLY, "expected at most 100,000 characters, got 100,"),
    "no text": (None, "expected a reply in text, got None"),
    "cycle": (changed(links=[[0, 1], [1, 0]]), "the links form a cycle"),
    "self-loop": (changed(links=[[0, 0]]), "the links form a cycle"),
    "range": (changed(links=[[0, 2]]), "link [0, 2] leaves the subtasks 0..1"),
    "link": (changed(links=[[0, 1, 2]]), "expected {id, instruction, subtasks"),
    "link text": (changed(links=[["0", "1"]]), "expected subtask indexes, got '0'"),
    "type": (changed(subtasks=[{"name": "x", "type": "reserch"}], links=[]), "'research'?"),
    "no type": (changed(subtasks=[{"name": "x"}], links=[]), "key 'type' is missing"),
    "no name": (changed(subtasks=[{"name": " ", "type": "writing"}], links=[]), "expected a name"),
    "no subtask": (changed(subtasks=[], links=[]), "expected at least one subtask, got none"),
    "not a list": (changed(subtasks=3), "expected {id, instruction, subtasks"),
    "long": (
        changed(subtasks=GOOD["subtasks"] * 2, links=[]),
        "expected at most 3 subtasks, got 4",
    ),
    "long value": (changed(subtasks=[{"name": ["x" * 9_000], "type": "writing"}]), "key 'name'"),
}


@pytest.mark.parametrize(("reply", "message"), WRONG.values(), ids=WRONG)
def test_reply_that_is_no_plan_is_refused_with_the_reason(reply: Any, message: str) -> None:
    script = Script(reply, reply)
    with pytest.raises(PlanningError) as caught:
        planner_of(script).plan([TEXT])

    line = str(caught.value)
    assert line.startswith("planner 'language model', instruction 'Find the \"best\" offer")
    assert ": no plan in 2 replies; the last: " in line
    assert message in line
    assert "\n" not in line and len(line) < 500
    assert message in script.prompts[1] and "refused" not in script.prompts[0]


def test_second_reply_may_be_better() -> None:
    script = Script("no", REPLY)
    (plan,) = planner_of(script).plan([TEXT])

    assert len(plan.workflow.subtasks) == 2
    assert len(script.prompts) == 2


def test_number_of_tries_can_be_chosen() -> None:
    script = Script("no", "no", "no", REPLY)
    with pytest.raises(PlanningError, match="no plan in 3 replies"):
        planner_of(script, max_tries=3).plan([TEXT])
    assert len(script.prompts) == 3


def test_failure_of_the_call_is_told_and_not_repeated() -> None:
    script = Script(TimeoutError("no answer\nin 30 s"), REPLY)
    with pytest.raises(PlanningError) as caught:
        planner_of(script).plan(["x"])

    assert str(caught.value) == (
        "planner 'language model', instruction 'x': the call failed with TimeoutError: "
        r"'no answer\nin 30 s'"
    )
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert len(script.prompts) == 1


def test_interrupt_is_no_failure_of_the_call() -> None:
    def interrupted(prompt: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planner_of(interrupted).plan(["x"])


def test_prompt_states_format_vocabulary_examples_and_the_instruction() -> None:
    example = chain("Do both.", 2, "writing")
    prompt = planner_of(Script(), examples=[example]).prompt(TEXT)

    for part in ('"subtasks"', '"links"', "1 to 3", '"research", "writing"'):
        assert part in prompt
    assert 'Instruction: "Do both."\nReply: {"subtasks": [{"name": "step 0"' in prompt
    assert prompt.endswith(f"Instruction: {json.dumps(TEXT)}\nReply:")


def test_reply_in_the_form_of_an_example_is_read() -> None:
    prompt = planner_of(Script(), examples=[chain("Do both.", 2, "writing")]).prompt(TEXT)
    reply = prompt.partition('Instruction: "Do both."\nReply: ')[2].partition("\n")[0]
    (plan,) = planner_of(Script(reply)).plan(["Do both."])

    assert plan.workflow.subtasks == chain("Do both.", 2, "writing").subtasks


def test_instruction_is_asked_once() -> None:
    script = Script(REPLY)
    planner = planner_of(script)
    first, second = planner.plan([TEXT, TEXT])

    assert first is second is planner.plan([TEXT])[0]


def test_what_was_planned_before_a_failure_is_kept() -> None:
    script = Script(REPLY, TimeoutError(), REPLY)
    planner = planner_of(script)
    with pytest.raises(PlanningError):
        planner.plan(["a", "b"])

    assert [plan.workflow.instruction for plan in planner.plan(["a", "b"])] == ["a", "b"]
    assert not script.replies


def test_oldest_plans_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestai_env.planning.language_model._MAX_KEPT", 2)
    script = Script(*[REPLY] * 4)
    planner = planner_of(script)
    planner.plan(["a", "b", "c", "b", "c", "a"])

    assert not script.replies


@pytest.mark.parametrize(
    "arguments", [{"task_types": ()}, {"max_subtasks": 0}, {"max_tries": 0}], ids=str
)
def test_wrong_setting_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="task_types, max_subtasks >= 1 and max_tries >= 1, got"):
        planner_of(Script(), **arguments)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (chain("x", 2, "cooking"), "unknown task type 'cooking'"),
        (chain("x", 4, "writing"), "expected at most 3 subtasks, got 4"),
        (Workflow(id="w", instruction="x", subtasks=(), links=()), "at least one subtask"),
    ],
    ids=["type", "long", "empty"],
)
def test_wrong_example_is_named(example: Workflow, message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        planner_of(Script(), examples=[example])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5) | st.sampled_from(TYPES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "type", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(subtasks=JSON | st.just(GOOD["subtasks"]), links=JSON, words=st.text(max_size=9))
def test_any_reply_gives_a_good_plan_or_a_planning_error(
    subtasks: Any, links: Any, words: str
) -> None:
    reply = words + json.dumps({"subtasks": subtasks, "links": links})
    planner = planner_of(lambda prompt: reply)
    try:
        checked_plans(planner, [TEXT], task_types=TYPES, max_subtasks=3)
    except PlanningError as error:
        assert "no plan in 2 replies" in str(error)


def test_batch_asks_one_after_the_other() -> None:
    texts: Sequence[str] = ("a", "b")
    script = Script(REPLY, REPLY)
    plans = planner_of(script).plan(texts)

    assert [plan.workflow.instruction for plan in plans] == ["a", "b"]
    assert ['"a"' in script.prompts[0], '"b"' in script.prompts[1]] == [True, True]
