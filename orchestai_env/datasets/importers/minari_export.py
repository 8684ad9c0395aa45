"""export_minari: logged executions as a Minari data set for offline reinforcement learning."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from orchestai_env.datasets.importers.conversion import LEFT_OUT
from orchestai_env.datasets.importers.left_out import LeftOut
from orchestai_env.datasets.importers.logged_workers import LoggedWorkers, survey
from orchestai_env.datasets.importers.replay import ReplayedEpisode, replay
from orchestai_env.errors import ConfigError, DataError, OrchestAIError
from orchestai_env.execution.extra import needs_extra
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.workers import WorkerPool

ENV_ID = "OrchestAI-v0"

DESCRIPTION = (
    "Logged executions of workflows, an episode each, played again by the transition of "
    "OrchestAI-v0 with the logged decisions, results and times. Actions are the workers that the "
    "agent chose; infos hold its propensities (NaN where it could not tell), the subtask decided "
    "on (-1 at the end) and the time of the decision [ms]. Workers, in action order: {workers}. "
    "Task types: {types}. What observations show of workers are means over this log. The spaces "
    "are those of this log: the environment that can be recovered plays built-in workflows, with "
    "others."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What is exported, and how."""

    dataset_id: str
    """Minari's name: (namespace/)name-v0."""
    rules: EpisodeRules
    """Of executions whose lines do not hold theirs."""
    weights: RewardWeights
    pool: WorkerPool | None = None
    """Workers in action order; None for those of the log."""
    author: str | None = None
    skip_bad: bool = False
    """Whether lines that are no execution, and executions that cannot be played again, are listed
    and left out, rather than refused."""


@dataclasses.dataclass(kw_only=True)
class Exported:
    """What was written."""

    path: Path
    workers: tuple[str, ...]
    num_episodes: int = 0
    num_steps: int = 0
    num_successes: int = 0
    num_with_propensities: int = 0
    """Steps."""
    total_return: float = 0.0
    num_interrupted: int = 0
    """Executions that were cut short from outside, which are left out."""
    num_undecided: int = 0
    """Executions that failed before a worker was chosen, which are left out, too."""
    num_left_out: int = 0
    first_left_out: list[str] = dataclasses.field(default_factory=list)

    def add(self, episode: ReplayedEpisode, record: ExecutionRecord) -> None:
        """Counts one episode."""
        self.num_episodes += 1
        self.num_steps += len(episode.actions)
        self.num_successes += record.success
        self.num_with_propensities += int((~np.isnan(episode.propensities[:, 0])).sum())
        self.total_return += float(episode.rewards.sum())


def export_minari(
    logs: str | Path, settings: ExportSettings, tell: Callable[[int, int], None] = lambda *_: None
) -> Exported:
    """Writes a log as a Minari data set, in the folder that MINARI_DATASETS_PATH names.

    The log is read twice, an execution at a time.

    Args:
        logs: folder of the log, or a file of it.
        settings: name, rules, reward weights.
        tell: told how many executions of how many are done.
    Raises:
        ConfigError: the name is none, or taken.
        MissingFileError: there is no log.
        DataError: a line is no execution, one cannot be played again, or none is left.
        UnknownWorkerError: the log names a worker that the pool lacks.
        MissingPackageError: minari or pyarrow is not installed.
    """
    with needs_extra("data", what="Minari data sets"):
        import minari  # noqa: F401  # the modules below import it piece by piece
        import pyarrow.dataset  # noqa: F401  # its Parquet files need this
    path = _free_path(settings.dataset_id)
    workers = survey(read_log(logs, skip_bad=settings.skip_bad), settings.pool)
    exported = Exported(path=path, workers=workers.pool.names)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as partial:
        whole = Path(partial) / "whole"
        storage = _new_storage(whole / "data", settings, workers)
        left_out = LeftOut(whole / LEFT_OUT if settings.skip_bad else None)
        try:
            episodes = _episodes(logs, settings, workers, left_out, exported)
            with _unsized(storage):
                storage.update_episodes(_told(episodes, workers.num_executions, tell))
        finally:
            left_out.close()
        exported.num_left_out, exported.first_left_out = left_out.count, left_out.first
        if not exported.num_episodes:
            raise DataError(
                f"{logs}: expected at least one execution to export, got none "
                f"({_left_out(exported)})"
            )
        _make_namespace(settings.dataset_id)
        whole.replace(path)
    return exported


def _free_path(dataset_id: str) -> Path:
    """Returns the folder of a data set that is not there yet."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):  # minari meets a missing version with a TypeError
        raise ConfigError(
            "--dataset_id: expected (namespace/)name-v0 of letters, digits, '-' and '_', two at "
            f"least in a namespace, got {dataset_id!r}"
        ) from None
    path = Path(get_dataset_path(dataset_id))
    if path.exists():
        raise ConfigError(
            f"--dataset_id: {path} is there already; name another version, or delete it"
        )
    return path


def _new_storage(path: Path, settings: ExportSettings, workers: LoggedWorkers) -> Any:
    """Makes an empty data set; Parquet, since HDF5 needs one package more."""
    import minari
    from minari.dataset.minari_storage import MinariStorage

    path.mkdir(parents=True)
    spec = copy.deepcopy(gym.spec(ENV_ID))  # the registry keeps its own
    rules = _shared(workers.rules or (settings.rules,))
    spec.kwargs = {"reward_weights": settings.weights.model_dump(), **rules}
    storage = MinariStorage.new(
        path,
        observation_space=workers.layout.space,
        action_space=gym.spaces.Discrete(len(workers.pool)),
        env_spec=spec,
        data_format="parquet",
    )
    metadata: dict[str, Any] = {
        "dataset_id": settings.dataset_id,
        "minari_version": minari.__version__,
        "algorithm_name": "logged",
        "description": DESCRIPTION.format(
            workers=", ".join(workers.pool.names), types=", ".join(workers.task_types)
        ),
    }
    if settings.author is not None:
        metadata["author"] = {settings.author}
    storage.update_metadata(metadata)
    return storage


def _episodes(
    logs: str | Path,
    settings: ExportSettings,
    workers: LoggedWorkers,
    left_out: LeftOut,
    exported: Exported,
) -> Iterator[Any]:
    """Yields an episode for each execution, as Minari stores them; None for one left out."""
    for record in _records(logs, settings, left_out):
        if record.interrupted or not record.decisions:
            exported.num_interrupted += record.interrupted
            exported.num_undecided += not record.interrupted
            yield None
            continue
        try:
            episode = replay(record, workers, rules=settings.rules, weights=settings.weights)
        except OrchestAIError as error:
            left_out.add(f"{logs}: execution {record.execution_id}", str(error))
            yield None
        else:
            exported.add(episode, record)
            yield _buffer(episode, exported.num_episodes - 1)


def _records(
    logs: str | Path, settings: ExportSettings, left_out: LeftOut
) -> Iterator[ExecutionRecord]:
    """Yields the executions, and lists the lines between and after them that are none."""
    records = read_log(logs, skip_bad=settings.skip_bad)
    num_listed = 0
    for record in itertools.chain(records, [None]):
        for bad in records.rejected[num_listed:]:
            left_out.add(f"{bad.file}:{bad.line}", bad.reason)
        num_listed = len(records.rejected)
        if record is not None:
            yield record
    left_out.count += records.num_rejected - num_listed  # the reader lists so many, and no more


def _told(episodes: Iterator[Any], total: int, tell: Callable[[int, int], None]) -> Iterator[Any]:
    """Yields the episodes that are there, and tells of all."""
    for number, episode in enumerate(episodes, 1):
        if episode is not None:
            yield episode
        tell(number, total)


def _buffer(episode: ReplayedEpisode, number: int) -> Any:
    """Returns an episode as Minari's buffer; infos have a row for the last observation too."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    last = np.arange(len(episode.actions)) == len(episode.actions) - 1
    unknown = np.full((1, episode.propensities.shape[1]), np.nan)
    return EpisodeBuffer(
        id=number,
        observations=episode.observations,
        actions=episode.actions,
        rewards=episode.rewards.tolist(),
        terminations=(last & episode.is_terminated).tolist(),
        truncations=(last & (not episode.is_terminated)).tolist(),
        infos={
            "propensities": np.concatenate([episode.propensities, unknown]),
            "subtask": [*episode.subtasks.tolist(), -1],
            "decided_ms": [*episode.decided_ms.tolist(), float("nan")],
        },
    )


@contextlib.contextmanager
def _unsized(storage: Any) -> Iterator[None]:
    """Adds up file sizes once at the end; Minari does so for each episode, over all files."""
    storage.get_size = lambda: 0.0
    yield
    del storage.get_size
    storage.update_metadata({"dataset_size": storage.get_size()})


def _shared(rules: Sequence[EpisodeRules]) -> dict[str, Any]:
    """Returns what all rules have in common, as keyword arguments of the environment."""
    first, *others = (r.model_dump(exclude_defaults=True) for r in rules)
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }


def _left_out(exported: Exported) -> str:
    """Returns in words why an export is empty."""
    first = f"; the first: {exported.first_left_out[0]}" if exported.first_left_out else ""
    return (
        f"{exported.num_interrupted} interrupted, {exported.num_undecided} without a decision, "
        f"{exported.num_left_out} left out{first}"
    )


def _make_namespace(dataset_id: str) -> None:
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = parse_dataset_id(dataset_id)[0]
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
