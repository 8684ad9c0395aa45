"""A schedule as text: what it says, and that it fits."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from orchestai_env.env import OrchestAIEnv
from orchestai_env.render.text import WIDTH, dollars, letters, render_text, seconds, shortened
from tests.orchestai_env.recording import crowded, diamond, recorded, secret_twins
from tests.orchestai_env.strategies import Case, cases
from tests.orchestai_env.toy import DIAMOND_BEST, ONE_SECOND, Instance, toy_env


def _lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_text_of_the_diamond() -> None:
    text = render_text(diamond(*DIAMOND_BEST))

    head, numbers, _, _, swift, frugal, *_ = text.splitlines()
    assert head == "toy, workflow 0: succeeded"
    assert numbers == "clock 3.50 s   cost 2.50000 USD   4 of 4 subtasks done   return 6.00"
    assert swift == f"A worker-0 |{'':12}1{'=' * 49}{'':25}|"
    assert frugal == f"B worker-1 |0xxxxx0=====2{'=' * 49}3{'=' * 24}|"
    assert text.splitlines()[-6:] == [
        "*       0  type-0  succeeded  Bx B=                  0.00 s     0.50 s  -",
        "*       1  type-0  succeeded  A=                     0.50 s     2.50 s  0",
        "        2  type-0  succeeded  B=                     0.50 s     2.50 s  0",
        "*       3  type-0  succeeded  B=                     2.50 s     3.50 s  1 2",
        "",
        "critical path (*): 0-1-3",
    ]


def test_text_before_the_first_decision() -> None:
    text = render_text(diamond())

    assert text.startswith("toy, workflow 0: ongoing, to be decided: subtask 0\nclock 0.00 s ")
    assert text.endswith("critical path (*): none yet")
    assert [line[12:-1].strip() for line in _lines(text, "A ") + _lines(text, "B ")] == ["", ""]


def test_text_of_running_waiting_and_dropped_calls() -> None:
    instance = Instance(calls=((ONE_SECOND,),) * 3)
    arguments = {"concurrency": (1,), "max_steps": 2}
    _, one, two = recorded(toy_env(instance, **arguments), 0, 0)

    assert "0  type-0  running    A>" in render_text(one)
    assert "1  type-0  running    A-" in render_text(two)
    waiting = recorded(toy_env(instance, concurrency=(1,)), 0, 0)[-1]
    assert "1  type-0  running    A?" in render_text(waiting)


def test_text_gives_calls_that_overlap_a_line_each() -> None:
    instance = Instance(calls=((ONE_SECOND,),) * 3)
    text = render_text(recorded(toy_env(instance), 0, 0, 0)[-1])

    bars = [line.partition("|")[2][0] for line in text.splitlines() if line.endswith("=|")]
    assert bars == ["0", "1", "2"]
    assert len(_lines(text, "A worker-0")) == 1


def test_text_gives_a_short_call_a_column() -> None:
    schedule = crowded(1, 4)
    first = schedule.calls[0]
    times = [(0.0, 1.0), (1.0, 2.0), (2.0, 2000.0)]
    calls = [
        dataclasses.replace(first, subtask=i, start_ms=start, end_ms=end)
        for i, (start, end) in enumerate(times)
    ]
    text = render_text(dataclasses.replace(schedule, calls=tuple(calls), clock_ms=2000.0))

    assert "|xx2xxx" in _lines(text, "A ")[0]


def test_text_fits_however_long_the_names_are() -> None:
    schedule = crowded(30, 20, name="a_worker_with_a_name_of_forty_characters_")
    schedule = dataclasses.replace(
        schedule, dataset="d" * 200, clock_ms=1e12, cost_usd=1e12, episode_return=-1e15
    )
    lines = render_text(schedule).splitlines()

    assert max(map(len, lines)) <= WIDTH
    assert [line.split()[0] for line in lines if line.endswith("|")][25:28] == ["Z", "AA", "AB"]


def test_text_shows_the_last_calls_of_a_subtask_that_has_too_many() -> None:
    schedule = crowded(2, 4)
    many = tuple(dataclasses.replace(schedule.calls[0], attempt=a, worker=a % 2) for a in range(9))
    last = dataclasses.replace(schedule.calls[1], worker=0, attempt=9)
    text = render_text(dataclasses.replace(schedule, calls=(*many, last)))

    assert "succeeded  .. Bx Ax Bx Ax A=  " in text


@given(cases())
def test_text_fits_and_names_every_subtask(case: Case) -> None:
    for schedule in recorded(OrchestAIEnv(case.dataset(), **case.rules), *case.actions):
        text = render_text(schedule)
        table = text.partition("needs\n")[2].partition("\n\n")[0].splitlines()
        assert max(map(len, text.splitlines())) <= WIDTH
        assert [int(row[2:9]) for row in table] == list(range(len(schedule.subtasks)))
        assert [row[0] == "*" for row in table] == [
            i in schedule.critical_path for i in range(len(schedule.subtasks))
        ]


def test_text_does_not_tell_what_a_running_call_will_do() -> None:
    first, second = map(render_text, secret_twins())

    assert first == second
    assert ">" in _lines(first, "A ")[0]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.0, "0.00 s"),
        (250.0, "0.25 s"),
        (999_990.0, "999.99 s"),
        (1_234_000.0, "1,234 s"),
        (86_400_000.0, "24 h"),
    ],
)
def test_seconds(ms: float, text: str) -> None:
    assert seconds(ms) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "0.00000 USD"),
        (0.00012, "0.00012 USD"),
        (4.4e-6, "0.0000044 USD"),
        (2e-12, "0.000000000 USD"),
        (1234.5, "1,234.50 USD"),
    ],
)
def test_dollars(usd: float, text: str) -> None:
    assert dollars(usd) == text


def test_shortened_keeps_both_ends() -> None:
    assert shortened("claude-3-5-sonnet-20240620", 16) == "claude-..0240620"
    assert shortened("claude", 6) == "claude"


def test_letters_go_on_after_z() -> None:
    numbers = [0, 25, 26, 51, 52, 701, 702]
    assert [letters(n) for n in numbers] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
