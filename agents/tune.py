"""Command: search for the hyperparameters of phase 2 by short trainings (Optuna).

Trials are judged on validation queries, never on test queries. The study is a database: the same
command goes on where it was stopped, and several machines that name one --storage and one --study
(each with an --output_dir of its own) work on it together; where one dies, its trial is repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.trial import TrialState
from rich.progress import track

from agents.anchored_ppo import LossError
from agents.config import save_resolved
from agents.experiment import Experiment, experiment_parser, read_experiment, with_overrides
from agents.train_phase2 import train_phase2
from agents.tune_report import plot_study, print_best, write_trials
from agents.tune_space import LEARNING_RATE, choices, draw, own_values, with_values
from agents.tune_study import FINISHED, TuneError, asked_for, open_study, repeat, shown
from orchestai_env.cli import run_command
from orchestai_env.engine import Engine, open_executor
from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.run_folder import claim

BEST, TRIALS, FIGURE = "best.yaml", "trials.csv", "tune.png"
"""Files of the output folder, beside study.db where no --storage is named."""
_MADE_OF, _FOLDER = "made_of", "folder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """What to search, where the study is, and how long; sent to every process."""

    experiment: Experiment
    checkpoint: Path | None
    """Phase-1 .pth or SB3 zip that every trial starts from; None = from scratch."""
    storage: str
    """URL of a database, as SQLAlchemy names them."""
    study: str
    num_trials: int
    """Finished trials of the study, over all machines."""
    num_seeds: int
    """Trainings per trial; their mean counts."""
    timesteps: int | None
    """Steps of each training; None = as many as the settings say."""
    deadline: float
    """Unix time after which no trial is begun."""

    @property
    def made_of(self) -> str:
        """Returns a hash of everything that has to be equal for trials to be comparable."""
        settings = self.experiment.config.model_dump_json(
            exclude={"benchmark": True, "system": {"device": True, "num_threads": True}}
        )
        weights, seed = self.experiment.weights.model_dump_json(), self.experiment.seed
        start = b"" if self.checkpoint is None else self.checkpoint.read_bytes()
        space = choices(self.experiment.config, has_checkpoint=self.checkpoint is not None)
        trials = (seed, self.num_seeds, self.timesteps, hashlib.sha256(start).hexdigest(), space)
        return hashlib.sha256(repr((settings, weights, trials)).encode()).hexdigest()

    @property
    def origin(self) -> str:
        """Returns what tells the trials of this output folder from those of others."""
        return f"{platform.node()}:{self.experiment.output_dir.resolve()}"


def tune(search: Search, *, num_jobs: int, engine: Engine, progress_bar: bool) -> None:
    """Runs the trials that are missing, and writes best.yaml, trials.csv and tune.png.

    Raises:
        OrchestAIError: settings, data or storage are wrong, or no trial was finished.
        KeyboardInterrupt: Ctrl-C; the message says what was kept.
    """
    experiment = search.experiment
    experiment.prepare_output()
    with _opened(search) as study:
        _take_up(study, search)
        missing = search.num_trials - len(study.get_trials(False, FINISHED))
    try:
        if missing > 0 and time.time() < search.deadline:
            _run_trials(search, missing, num_jobs, engine, progress_bar)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {shown(search.storage)} holds all finished trials, the same command "
            "goes on from there"
        ) from None
    with _opened(search) as study:
        _finish(study, search)


def _run_trials(
    search: Search, count: int, num_jobs: int, engine: Engine, progress_bar: bool
) -> None:
    search.experiment.dataset("validation")  # what is wrong shows here, before processes start
    with open_executor(engine, num_jobs, _start_process, (search,)) as pool:
        futures = [pool.submit(_next_trial) for _ in range(count)]
        bar = track(as_completed(futures), "tuning", count, disable=not progress_bar)
        for future in bar:
            future.result()


def _opened(search: Search) -> contextlib.AbstractContextManager[optuna.Study]:
    return open_study(search.storage, search.study, seed=search.experiment.seed)


def _take_up(study: optuna.Study, search: Search) -> None:
    """Checks that the study is of these settings, and queues what a killed run left undone.

    Raises:
        ConfigError: the study is of others.
    """
    config, has_checkpoint = search.experiment.config, search.checkpoint is not None
    if study.user_attrs.setdefault(_MADE_OF, search.made_of) != search.made_of:
        raise ConfigError(
            f"--study {search.study}: {shown(search.storage)} holds trials of other settings; "
            "name another --study or --output_dir"
        )
    study.set_user_attr(_MADE_OF, search.made_of)
    for trial in study.get_trials(False, (TrialState.RUNNING,)):
        if trial.user_attrs.get(_FOLDER) == search.origin:  # which this run holds the lock of
            study.tell(trial.number, state=TrialState.FAIL)
            repeat(study, trial)
    # The settings as they are come first, so that the best are never worse.
    own = own_values(config, [LEARNING_RATE, *choices(config, has_checkpoint=has_checkpoint)])
    left = [trial for trial in study.get_trials(False) if trial.state != TrialState.FAIL]
    if all(asked_for(trial) != own for trial in left):
        study.enqueue_trial(own)


_in_process: Search | None = None


def _start_process(search: Search) -> None:
    global _in_process  # one per worker process; an executor's initializer has no other place
    torch.set_num_threads(search.experiment.config.system.num_threads)
    _in_process = search


def _next_trial() -> None:
    """Runs one more trial, unless there are enough, time is up or Ctrl-C was pressed."""
    global _in_process
    search = _in_process
    if search is None or time.time() > search.deadline:
        return
    try:
        with _opened(search) as study:
            if len(study.get_trials(False, (*FINISHED, TrialState.RUNNING))) >= search.num_trials:
                return
            study.optimize(lambda trial: _objective(trial, search), n_trials=1)
    except KeyboardInterrupt:
        _in_process = None
    except optuna.exceptions.UpdateFinishedTrialError:
        pass  # this machine slept: others took it for dead, and its trial is repeated


def _objective(trial: optuna.Trial, search: Search) -> float:
    """Trains with values of the trial; returns the best validation return, mean over seeds.

    The first seed's evaluations decide whether the trial is pruned.
    """
    trial.set_user_attr(_FOLDER, search.origin)
    base = search.experiment
    config = with_values(
        base.config, draw(trial, base.config, has_checkpoint=search.checkpoint is not None)
    )
    if search.timesteps is not None:
        config = with_overrides(config, "phase2_rl", {"total_timesteps": search.timesteps})
    folder = base.output_dir / "trials" / f"{search.study}-{trial.number}"
    returns = []
    for index in range(search.num_seeds):
        experiment = dataclasses.replace(
            base, config=config, seed=base.seed + index, output_dir=folder / f"seed{index}"
        )
        try:
            result = train_phase2(
                experiment,
                checkpoint=search.checkpoint,
                resume=False,
                progress_bar=False,
                on_evaluation=EvaluationReporter(trial) if index == 0 else None,
            )
        except LossError:  # values that diverge are bad ones, not a mistake of the user
            raise optuna.TrialPruned from None
        returns.append(result["validation_return"])
    return float(np.mean(returns))


class EvaluationReporter:
    """Tells a trial its evaluations, by their number: their steps differ between trials."""

    def __init__(self, trial: optuna.Trial) -> None:
        """Takes the trial that is told."""
        self._trial = trial
        self._count = 0

    def __call__(self, row: Mapping[str, float]) -> None:
        """Reports one evaluation.

        Raises:
            TrialPruned: the trial is below the median of the others.
        """
        self._trial.report(row["validation_return"], self._count)
        self._count += 1
        if self._trial.should_prune():
            raise optuna.TrialPruned


def _finish(study: optuna.Study, search: Search) -> None:
    """Writes the results and prints the best trials.

    Raises:
        TuneError: no trial came to its end.
    """
    experiment = search.experiment
    folder = experiment.output_dir
    trials = study.get_trials(False)
    write_trials(folder / TRIALS, trials)
    complete = study.get_trials(False, (TrialState.COMPLETE,))
    if not complete:
        raise TuneError(
            f"no trial was finished, {len(trials)} began; give more --trials or a longer --timeout"
        )
    config = with_values(experiment.config, study.best_params)
    # Profiles are named relative to their settings file, and this one is elsewhere.
    home = experiment.config_path.parent
    profiles = {
        name: os.path.relpath(home / path, folder)
        for name, path in config.benchmark.profiles.items()
    }
    benchmark = config.benchmark.model_copy(update={"profiles": profiles})
    save_resolved(config.model_copy(update={"benchmark": benchmark}), folder / BEST)
    plot_study(folder / FIGURE, study)
    print_best(complete)


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and searches."""
    parser = experiment_parser("agents.tune", __doc__)
    add = parser.add_argument
    add("--trials", type=int, default=20, help="finished trials of the study, pruned ones too")
    add("--timeout", type=float, help="seconds after which no trial is begun")
    add(
        "--timesteps",
        type=int,
        help="steps of each training; those of the settings without it (fewer favour settings that "
        "learn fast, not those that end best)",
    )
    add("--num_seeds", type=int, default=1, help="trainings per trial, whose mean counts")
    add("--checkpoint", type=Path, help="phase-1 .pth or SB3 zip that every trial starts from")
    add("--storage", help="URL of the database; study.db in --output_dir without it")
    add("--study", default="phase2", help="name of the study in the database")
    add("--jobs", type=int, default=1, help="trials that run side by side on this machine")
    add("--engine", choices=("local", "ray"), default="local", help="where trials run")
    args = parser.parse_args(argv)
    experiment = read_experiment(args)
    search = _search(args, experiment)
    with claim(experiment.output_dir):
        tune(search, num_jobs=args.jobs, engine=args.engine, progress_bar=not args.quiet)
    print(f"best settings: {experiment.output_dir / BEST}")


def _search(args: argparse.Namespace, experiment: Experiment) -> Search:
    """Returns the search that the options name.

    Raises:
        ConfigError: a number is too small.
        MissingFileError: there is no such checkpoint.
    """
    for name in ("trials", "timesteps", "num_seeds", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name}: expected a whole number >= 1, got {value}")
    if args.checkpoint is not None and not args.checkpoint.is_file():
        raise MissingFileError(f"--checkpoint {args.checkpoint}: no such file")
    default = f"sqlite:///{(experiment.output_dir / 'study.db').resolve()}"
    return Search(
        experiment=experiment,
        checkpoint=args.checkpoint,
        storage=args.storage or default,
        study=args.study,
        num_trials=args.trials,
        num_seeds=args.num_seeds,
        timesteps=args.timesteps,
        deadline=float("inf") if args.timeout is None else time.time() + args.timeout,
    )


if __name__ == "__main__":
    run_command(main)
