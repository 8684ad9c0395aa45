"""A schedule as text: a bar chart of the calls and a table of the subtasks, 100 columns wide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from orchestai_env.schedule import CallRecord, Schedule

WIDTH = 100
_MARKS = {"succeeded": "=", "failed": "x", "running": ">", "waiting": "?", "dropped": "-"}
_LEGEND = (
    "bars: number of the subtask, then = succeeded, x failed, > running",
    "calls: letter of the worker, then one of these or ? waiting for a slot, - dropped",
)
_MAX_NAME, _MAX_TYPE, _MAX_LIST = 30, 22, 18


def render_text(schedule: Schedule) -> str:
    """Returns a schedule as text of at most 100 columns, readable without colour.

    Every worker has a letter and a line for each of its calls that run at once, and every subtask
    has a row. The bar of a call that still runs reaches up to the clock.
    """
    path = "-".join(map(str, schedule.critical_path)) or "none yet"
    return "\n".join(
        [
            headline(schedule),
            shortened("   ".join(figures(schedule)), WIDTH),
            "",
            *_chart(schedule),
            "",
            *_LEGEND,
            "",
            *_table(schedule),
            "",
            f"critical path (*): {shortened(path, WIDTH - 20)}",
        ]
    )


def headline(schedule: Schedule) -> str:
    """Returns which workflow it is, how it stands and what is to be decided next."""
    name = f"{shortened(schedule.dataset, 40)}, workflow {schedule.workflow}"
    current = schedule.current
    after = "" if current is None else f", to be decided: subtask {current}"
    return f"{name}: {schedule.progress}{after}"


def figures(schedule: Schedule) -> tuple[str, ...]:
    """Returns clock, cost, progress and return, each with its unit."""
    return (
        f"clock {seconds(schedule.clock_ms)}",
        f"cost {dollars(schedule.cost_usd)}",
        f"{schedule.num_succeeded} of {len(schedule.subtasks)} subtasks done",
        f"return {schedule.episode_return:,.2f}",
    )


def seconds(ms: float) -> str:
    """Returns a time as text, such as "0.25 s" or "1,234 s"; from a day on in hours."""
    if ms >= 86_400_000:
        return f"{ms / 3_600_000:,.0f} h"
    return f"{ms / 1000:,.0f} s" if ms >= 1_000_000 else f"{ms / 1000:.2f} s"


def dollars(usd: float) -> str:
    """Returns an amount as text; of a small one two digits, down to a billionth."""
    if usd >= 100:
        return f"{usd:,.2f} USD"
    decimals = 5 if usd == 0 else max(5, min(9, 1 - math.floor(math.log10(usd))))
    return f"{usd:.{decimals}f} USD"


def shortened(name: str, most: int) -> str:
    """Cuts the middle out of a name that is too long; names often differ at their ends only."""
    if len(name) <= most:
        return name
    tail = most // 2 - 1
    return f"{name[: most - tail - 2]}..{name[-tail:]}"


def letters(worker: int) -> str:
    """Returns the letters of a worker: A to Z, then AA, AB and so on."""
    text = ""
    while worker >= 0:
        text = chr(ord("A") + worker % 26) + text
        worker = worker // 26 - 1
    return text


def _chart(schedule: Schedule) -> Iterator[str]:
    """Yields a line per worker, more where its calls overlap, under a line with the times."""
    heads = [f"{letters(w)} {shortened(n, _MAX_NAME)}" for w, n in enumerate(schedule.workers)]
    indent = max(map(len, heads))
    width = WIDTH - indent - 3
    now = seconds(schedule.clock_ms)
    yield f"{'worker':{indent}}  0 s{now:>{width - 3}}"
    for worker, head in enumerate(heads):
        for number, lane in enumerate(schedule.lanes(worker) or ((),)):
            yield f"{'' if number else head:{indent}} |{_lane(schedule, lane, width)}|"


def _lane(schedule: Schedule, calls: tuple[CallRecord, ...], width: int) -> str:
    """Draws calls that follow each other; a short one takes a column and pushes later ones on."""
    scale = width / schedule.clock_ms if schedule.clock_ms > 0 else 0.0
    columns = [" "] * width
    free = 0
    for call in calls:
        first = min(max(round((call.start_ms or 0.0) * scale), free), width - 1)
        free = max(first + 1, round(schedule.until_ms(call) * scale))
        mark, number = _MARKS[call.outcome], str(call.subtask)
        label = number if len(number) < free - first else ""
        columns[first:free] = label + mark * (free - first - len(label))
    return "".join(columns)


def _table(schedule: Schedule) -> Iterator[str]:
    """Yields a row per subtask under a row of headings."""
    path = schedule.critical_path
    wide = max([4, *(len(s.task_type) for s in schedule.subtasks)])
    kind = min(wide, _MAX_TYPE)
    columns = "{:1} {:>7}  {:" + str(kind) + "}  {:9}  {:" + str(_MAX_LIST) + "} {:>10} {:>10}  {}"
    yield columns.format("", "subtask", "type", "status", "calls", "start", "end", "needs")
    for i, subtask in enumerate(schedule.subtasks):
        calls = schedule.calls_of(i)
        made = [letters(c.worker) + _MARKS[c.outcome] for c in calls]
        starts = [c.start_ms for c in calls if c.start_ms is not None]
        end = calls[-1].end_ms if calls else None
        yield columns.format(
            "*" if i in path else "",
            i,
            shortened(subtask.task_type, kind),
            subtask.status,
            _last(made, _MAX_LIST),
            seconds(starts[0]) if starts else "-",
            seconds(end) if end is not None else "-",
            shortened(" ".join(map(str, subtask.parents)) or "-", 12),
        ).rstrip()


def _last(words: Sequence[str], most: int) -> str:
    """Joins as many of the last words as fit; two dots stand for the others."""
    text = " ".join(words)
    first = 0
    while len(text) > most:
        first += 1
        text = " ".join(["..", *words[first:]])
    return text
