"""Study of a search: its database, and what becomes of trials whose machine died."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import sqlalchemy.exc
from optuna.trial import FrozenTrial, TrialState

from orchestai_env.errors import ConfigError, OrchestAIError

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_HEARTBEAT_S, _DEAD_AFTER_S = 30, 300
"""A trial whose machine has not shown itself for that long has failed, and is repeated."""


class TuneError(OrchestAIError):
    """A search that found nothing, or lost its database."""


@contextlib.contextmanager
def open_study(url: str, name: str, *, seed: int) -> Iterator[optuna.Study]:
    """Opens a study, makes it where it is not there, and repeats trials whose machine died.

    Args:
        url: of a database, as SQLAlchemy names them.
        name: of the study there.
        seed: of what is drawn.
    Raises:
        ConfigError: the database cannot be opened.
        TuneError: it refuses to be written, or is gone.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _open_storage(url)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=_SamplerByTrial(seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            direction="maximize",
            load_if_exists=True,
        )
        with _without_experimental_warnings():
            optuna.storages.fail_stale_trials(study)
        yield study
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise TuneError(
            f"--storage {shown(url)}: {_reason(error.__cause__ or error)}; it keeps the finished "
            "trials: make it writable and reachable, then run the same command again"
        ) from None
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _open_storage(url: str) -> optuna.storages.RDBStorage:
    try:
        with _without_experimental_warnings():
            return optuna.storages.RDBStorage(
                url,
                heartbeat_interval=_HEARTBEAT_S,
                grace_period=_DEAD_AFTER_S,
                heartbeat_stale_trial_callback=repeat,
            )
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--storage {shown(url)}: {_reason(error)}; expected a database URL, for instance "
            "sqlite:////shared/study.db or postgresql://user:password@host/name"
        ) from None


@contextlib.contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    """Silences Optuna's warning that its heartbeat may change; setup.cfg names the versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


class _SamplerByTrial(optuna.samplers.TPESampler):
    """TPE whose random numbers follow from the seed and the trial's number.

    So neither a resumed study nor machines that ask at the same moment draw the same again.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        words = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        super().__init__(seed=int(words[0]))
        super().before_trial(study, trial)


def repeat(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queues the values of a trial again."""
    study.enqueue_trial(asked_for(trial))


def asked_for(trial: FrozenTrial) -> dict[str, Any]:
    """Returns the values that a trial was queued with, those that it drew where it was not."""
    return dict(trial.system_attrs.get("fixed_params", trial.params))


def shown(url: str) -> str:
    """Returns a database's URL without its password."""
    scheme, found, rest = url.partition("://")
    return scheme + found + rest.rpartition("@")[2]


def _reason(error: BaseException) -> str:
    """Returns the first part of an error's text, on one line."""
    return " ".join(str(error).split())[:200]
