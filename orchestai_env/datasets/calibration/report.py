"""The calibration report: a Markdown page, a JSON summary and pictures, in a folder."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.datasets.calibration.calibrate import Calibration
from orchestai_env.datasets.calibration.comparison import Compared, Measure
from orchestai_env.datasets.calibration.estimates import Estimate, PairEstimate
from orchestai_env.datasets.calibration.figures import draw_comparison, draw_reliability
from orchestai_env.datasets.calibration.fit import FittedPool

PAGE, SUMMARY = "report.md", "summary.json"
RELIABILITY, TASK_TYPES, WORKERS = "reliability.png", "task_types.png", "workers.png"
_METHOD = """\
## How it was fitted

- A call succeeds when *skill - spread x difficulty - kinship x character - coupling x (1 - parents'
  quality) + noise* is positive, and the subtask is not one of the unsolvable share; this is the
  simulator's own rule. Difficulty and character are standard normal, the same for all calls on one
  subtask; a share of the noise's variance (the retry correlation) stays when a worker tries the
  subtask again. The likelihood integrates over all of them numerically. Spreads of pairs are shrunk
  towards the shared one; kinships are 0 unless they raise the likelihood by more than their number.
- Retries happen only after failures, which the likelihood of the whole course of a subtask takes
  into account. Which worker was chosen depended on what was seen; given the course, that is
  ignorable.
- Pairs of worker and task type are shrunk towards the means of both: empirical Bayes with crossed
  random effects (Morris 1983), less so pairs of workers that are good at some types only. Standard
  deviations in probits: {deviations}.
- Intervals are 95 %, from the observed information at the most probable parameters, prior
  included.
- Tokens are log-normal; their logarithm rises with difficulty and luck (the noise of the call), by
  least squares on what the course of a subtask tells of both, shrunk towards 0. Latency is *(first
  token + tokens x time per token) x (1 + slowdown x calls running)*, by Huber's robust regression,
  stretched to each worker's mean time; costs by least squares on tokens. A pair's input tokens are
  those that meet its mean cost.
- Calls without an end in the log ({open}) tell nothing of success. Those that an abort cut off tend
  to be long ones; how long they had run counts as a lower bound of their tokens (EM of a censored
  log-normal).
"""


def write_report(calibration: Calibration, folder: Path) -> list[Path]:
    """Writes the report; returns its files.

    Raises:
        MissingPackageError: matplotlib is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if calibration.reliability is not None:
        written.append(folder / RELIABILITY)
        draw_reliability(calibration.reliability, written[-1])
    if calibration.comparison is not None:
        for name, rows, what in (
            (TASK_TYPES, calibration.comparison.task_types, "task type"),
            (WORKERS, calibration.comparison.workers, "worker"),
        ):
            written.append(folder / name)
            draw_comparison(rows, what, written[-1])
    texts = {
        PAGE: "\n".join(_page(calibration)) + "\n",
        SUMMARY: _json(summary(calibration)) + "\n",
    }
    for name, text in texts.items():
        written.append(folder / name)
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, written[-1])
    return written


def summary(calibration: Calibration) -> dict[str, Any]:
    """Returns everything that was found, as JSON."""
    fitted = calibration.fitted
    replayed = calibration.replayed
    return {
        "executions": calibration.num_executions,
        "executions_left_out": calibration.num_left_out,
        "held_out": calibration.num_held_out,
        "held_out_share_instructions": calibration.has_shared_instructions,
        "calls_fitted": fitted.num_calls,
        "calls_without_end": calibration.num_open_calls,
        "calls_without_answer": calibration.num_faults,
        "calls_without_tokens": fitted.num_empty,
        "simulation": {name: dataclasses.asdict(one) for name, one in fitted.shared.items()},
        "kinship": {name: dataclasses.asdict(one) for name, one in fitted.kinship.items()},
        "workers_without_answers": list(fitted.silent),
        "workers_without_tokens": list(fitted.timed),
        "pairs": [
            dataclasses.asdict(pair) | {"is_mostly_prior": pair.is_mostly_prior}
            for pair in fitted.pairs
        ],
        "unseen_pairs": [list(pair) for pair in fitted.unseen],
        "speeds": {
            name: {
                "first_token_ms": dataclasses.asdict(first),
                "token_ms": dataclasses.asdict(token),
            }
            for name, (first, token) in fitted.speeds.items()
        },
        "reliability": _as_dict(calibration.reliability),
        "comparison": _as_dict(calibration.comparison),
        "replay": None
        if replayed is None
        else {
            "episodes_each": replayed.repeats,
            "left_out": replayed.num_left_out,
            "max_attempts": replayed.rules.max_attempts,
            "max_parallel_tasks": replayed.rules.max_parallel_tasks,
            "on_failure": replayed.rules.on_failure,
        },
    }


def _as_dict(record: Any) -> dict[str, Any] | None:
    """Returns a record's fields; None, which JSON knows, in the place of NaN."""

    def known(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: None if _is_nan(value) else value for name, value in fields}

    return None if record is None else dataclasses.asdict(record, dict_factory=known)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def _page(calibration: Calibration) -> Iterator[str]:
    fitted = calibration.fitted
    yield "# Calibration of the simulator\n"
    dealt = "one by one" if calibration.has_shared_instructions else "by instruction"
    yield (
        f"{calibration.num_executions:,} executions in the log; {calibration.num_held_out:,} held "
        f"out, {dealt}. Fitted to {fitted.num_calls:,} calls of the others.\n"
    )
    yield from _warnings(calibration)
    yield from _held_out(calibration)
    yield "## Shared parameters\n"
    rows = [
        (name, _number(one.value), _interval(one), one.note or "fitted")
        for name, one in fitted.shared.items()
    ]
    yield from _table(("parameter", "value", "95 % interval", "how"), rows)
    yield "## Success and tokens of every pair\n"
    yield from _pair_table(fitted)
    yield "## Difficulty, kinship and what tokens follow\n"
    yield from _hidden_table(fitted)
    yield "## Time\n"
    speeds = [
        (name, _number(first.value), _interval(first), _number(token.value), _interval(token))
        for name, (first, token) in fitted.speeds.items()
    ]
    header = ("worker", "first token [ms]", "95 % interval", "per token [ms]", "95 % interval")
    yield from _table(header, speeds)
    deviations = "rest {:.2f}, workers {:.2f}, task types {:.2f}".format(*fitted.prior_deviations)
    yield _METHOD.format(deviations=deviations, open=f"{calibration.num_open_calls:,}")


def _warnings(calibration: Calibration) -> Iterator[str]:
    """Says what rests on little."""
    fitted, found = calibration.fitted, []
    if calibration.num_left_out:
        found.append(
            f"{calibration.num_left_out:,} further executions are left out: they were interrupted, "
            "or could not be planned"
        )
    if calibration.has_shared_instructions:
        found.append(
            "the log has too few different instructions to hold some of them out, as where their "
            "texts were kept out of it: the checks tell nothing of new instructions"
        )
    weak = [f"{p.worker} on {p.task_type}" for p in fitted.pairs if p.is_mostly_prior]
    if weak:
        found.append(
            f"{len(weak)} of {len(fitted.pairs)} pairs rest mostly on the prior, the worker's and "
            f"the type's other calls: {_some(weak)}"
        )
    if fitted.unseen:
        unseen = [f"{w} on {t}" for w, t in fitted.unseen]
        found.append(
            f"{len(unseen)} pairs have no call in the log and are left out, so the simulator masks "
            f"them: {_some(unseen)}"
        )
    found += [f"{name}: {one.note}" for name, one in fitted.shared.items() if one.note]
    if fitted.timed:
        found.append(
            f"{', '.join(fitted.timed)}: no tokens are logged; milliseconds stand for them, by "
            "task type, so that what is called tokens below is the time of a call"
        )
    if fitted.num_empty:
        found.append(f"{fitted.num_empty:,} answered calls have 0 output tokens and tell no spread")
    if calibration.num_faults:
        found.append(
            f"{calibration.num_faults:,} calls met a fault; they count as failures of the worker, "
            "and what they cost and how long they took is not simulated"
        )
    if fitted.silent:
        found.append(
            f"{_some(fitted.silent)}: no call was answered, so neither cost nor time is known"
        )
    yield from (f"- {line}" for line in found)
    yield ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _held_out(calibration: Calibration) -> Iterator[str]:
    yield "## On held-out executions\n"
    found, comparison, replayed = (
        calibration.reliability,
        calibration.comparison,
        calibration.replayed,
    )
    if found is None or comparison is None or replayed is None:
        yield "Nothing was held out that the simulator can play; log more instructions.\n"
        return
    yield (
        f"Success of {found.num_calls:,} calls, predicted one by one from what was seen before on "
        f"the same subtask: expected calibration error {found.calibration_error:.3f} "
        f"({found.chance_error:.3f} if the predictions were exact), Brier score {found.brier:.3f} "
        f"({found.brier_of_base_rate:.3f} for the base rate).\n"
    )
    yield f"![Predicted and logged success]({RELIABILITY})\n"
    rules = replayed.rules
    yield (
        f"Below, {len(replayed.executions):,} executions were played again in the simulator with "
        f"the logged choices, {replayed.repeats} times each (max_attempts {rules.max_attempts}, "
        f"max_parallel_tasks {rules.max_parallel_tasks}, on_failure {rules.on_failure}, as the log "
        "shows them). Where a simulated call fails that succeeded in the log, the worker is drawn "
        "from the log's choices in the same situation. Cells: logged (95 % interval) / simulated.\n"
    )
    if replayed.num_left_out:
        yield f"{replayed.num_left_out:,} are left out, as a type of theirs was not fitted.\n"
    header = ("", "count", "success", "cost [USD]", "time [ms]", "makespan [ms]")
    for title, rows in (
        ("executions", (comparison.executions,)),
        ("task type (its subtasks)", comparison.task_types),
        ("worker (its calls)", comparison.workers),
    ):
        yield from _table((title, *header[1:]), [_compared(row) for row in rows])
    yield (
        f"A call waited {_measure(comparison.wait_ms)} ms for its start. The simulator plays an "
        "execution by itself: where others kept workers busy, logged makespans are longer. Without "
        "waits, the longest chain of calls of an execution took "
        f"{_measure(comparison.chain_ms)} ms.\n"
    )
    yield f"![By task type]({TASK_TYPES})\n"
    yield f"![By worker]({WORKERS})\n"


def _compared(row: Compared) -> tuple[str, ...]:
    cells = (row.success, row.cost_usd, row.time_ms, row.makespan_ms)
    return (row.name, f"{row.count:,}", *map(_measure, cells))


def _measure(one: Measure) -> str:
    low, high = _number(one.low), _number(one.high)
    return f"{_number(one.logged)} ({low} to {high}) / {_number(one.simulated)}"


def _pair_table(fitted: FittedPool) -> Iterator[str]:
    header = (
        "worker",
        "task type",
        "calls",
        "succeeded",
        "success",
        "95 % interval",
        "own share",
        "tokens",
        "95 % interval",
    )
    rows = [
        (
            pair.worker,
            pair.task_type,
            f"{pair.calls:,}",
            f"{pair.successes:,}",
            f"{pair.success.value:.3f}",
            _interval(pair.success),
            f"{pair.data_share:.2f}",
            _number(pair.output_tokens.value),
            _interval(pair.output_tokens),
        )
        for pair in fitted.pairs
    ]
    yield from _table(header, rows)
    yield (
        "success: of a first call with perfect parents. own share: of what is known of it, how "
        "much its own calls gave.\n"
    )


def _hidden_table(fitted: FittedPool) -> Iterator[str]:
    def both(one: Estimate) -> str:
        return f"{_number(one.value)} ({_interval(one)})"

    def cells(pair: PairEstimate) -> tuple[str, ...]:
        fields = (
            pair.difficulty_spread,
            pair.tokens_by_difficulty,
            pair.tokens_by_luck,
            pair.token_spread,
            pair.input_tokens,
        )
        return (pair.worker, pair.task_type, *map(both, fields))

    header = (
        "worker",
        "task type",
        "difficulty spread",
        "tokens by difficulty",
        "tokens by luck",
        "token spread",
        "input tokens",
    )
    yield from _table(header, [cells(pair) for pair in fitted.pairs])
    yield "Cells: value (95 % interval). By difficulty and luck: of the logarithm of the tokens.\n"
    yield from _table(
        ("worker", "kinship (95 % interval)", "how"),
        [(name, both(one), one.note or "fitted") for name, one in fitted.kinship.items()],
    )


def _interval(one: Estimate) -> str:
    return f"{_number(one.low)} to {_number(one.high)}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "none"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
