"""Report of a search: table of trials, history and importance of the settings."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

_SHOWN = 5
_MIN_IMPORTANCE_TRIALS = 10
"""Fewer complete trials say nothing about importance: there are about as many settings."""


def write_trials(path: Path, trials: Sequence[FrozenTrial]) -> None:
    """Writes a line per trial: number, state, best validation return, seconds, and its values.

    The return of a pruned trial is that of its last evaluation.
    """
    names = sorted({name for trial in trials for name in trial.params})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "state", "validation_return", "seconds", *names])
        for trial in trials:
            seconds = trial.duration.total_seconds() if trial.duration else ""
            value = "" if trial.value is None else trial.value
            row = [trial.number, trial.state.name.lower(), value, seconds]
            writer.writerow([*row, *(trial.params.get(name, "") for name in names)])


def print_best(complete: Sequence[FrozenTrial]) -> None:
    """Prints the best trials, one column each."""
    best = sorted(complete, key=lambda trial: -(trial.value or 0.0))[:_SHOWN]
    table = Table(title="best trials by validation return")
    table.add_column("")
    for trial in best:
        table.add_column(f"trial {trial.number}", justify="right")
    table.add_row("validation return", *(f"{trial.value:.3f}" for trial in best), end_section=True)
    for name in best[0].params:
        values = [trial.params.get(name, "") for trial in best]
        table.add_row(name, *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values))
    Console(width=max(Console().width, 100)).print(table)


def plot_study(path: Path, study: optuna.Study) -> None:
    """Draws the validation return over the trials, and what the settings explain of it."""
    complete = study.get_trials(False, (TrialState.COMPLETE,))
    pruned = [t for t in study.get_trials(False, (TrialState.PRUNED,)) if t.value is not None]
    figure = Figure(figsize=(11, 4), layout="constrained")
    history, importance = figure.subplots(1, 2)
    numbers = np.array([trial.number for trial in complete])
    values = np.array([trial.value for trial in complete], np.float64)
    history.plot(numbers, values, "o", color="tab:blue", label="trial")
    history.plot(
        [t.number for t in pruned], [t.value for t in pruned], "x", color="0.6", label="pruned"
    )
    history.step(
        numbers,
        np.maximum.accumulate(values),
        where="post",
        color="tab:orange",
        label="best so far",
    )
    history.set(
        xlabel="trial", ylabel="best validation return of the trial", title=study.study_name
    )
    history.xaxis.get_major_locator().set_params(integer=True)
    history.legend()
    if len(complete) >= _MIN_IMPORTANCE_TRIALS and np.ptp(values) > 0:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        names = list(reversed(shares))
        importance.barh(
            [name.rpartition(".")[2] for name in names], [shares[name] for name in names]
        )
        importance.set(xlabel="share of the explained variance (fANOVA)", title="importance")
    else:
        importance.set_axis_off()
        importance.text(
            0.5, 0.5, f"importance: from {_MIN_IMPORTANCE_TRIALS} complete trials on", ha="center"
        )
    figure.savefig(path, dpi=120)
