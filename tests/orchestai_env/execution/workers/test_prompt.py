"""The prompt that every worker gets."""

from __future__ import annotations

import dataclasses

from orchestai_env.execution.workers.prompt import prompt_text
from tests.orchestai_env.execution.calling import REQUEST


def test_prompt_has_goal_results_and_subtask() -> None:
    request = dataclasses.replace(REQUEST, inputs=("1 2 3", "4 5"))
    assert prompt_text(request) == (
        "Overall goal: Write a report.\n"
        "\n"
        "Results of earlier subtasks:\n"
        "[1] 1 2 3\n"
        "[2] 4 5\n"
        "\n"
        "Your subtask (math): Sum the table.\n"
        "Answer with the result of this subtask only."
    )


def test_prompt_leaves_out_what_is_not_there() -> None:
    alone = dataclasses.replace(REQUEST, instruction="", inputs=())
    assert prompt_text(alone).startswith("Your subtask (math): Sum the table.")
    same = dataclasses.replace(REQUEST, instruction=REQUEST.subtask, inputs=())
    assert prompt_text(same) == prompt_text(alone)


def test_prompt_does_not_depend_on_the_attempt() -> None:
    assert prompt_text(dataclasses.replace(REQUEST, attempt=2)) == prompt_text(REQUEST)


def test_prompt_can_always_be_sent() -> None:
    prompt = prompt_text(dataclasses.replace(REQUEST, inputs=("a\ud83d", "\U0001f600")))
    assert "a\ufffd" in prompt
    assert "\U0001f600" in prompt
    prompt.encode()
