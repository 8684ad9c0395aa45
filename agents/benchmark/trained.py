"""Trained agents of a benchmark: their settings, and the jobs that train them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from agents.benchmark.jobs import Job
from agents.config import (
    ExperimentSettings,
    TrainedAgentSettings,
    TrainingSettings,
    save_resolved,
)
from agents.extended_yaml import merged
from agents.phase2_callbacks import BEST
from agents.registry import CLONED
from orchestai_env.errors import ConfigError, unknown_name
from orchestai_env.settings import parse_settings

_MODULES = {1: "supervised.train_phase1", 2: "agents.train_phase2"}
_BEST = {1: CLONED, 2: BEST}
RESULT = "result.json"
"""File that a training writes last, in the run folder of the agent."""


def agent_settings(config: ExperimentSettings, path: Path) -> dict[str, ExperimentSettings]:
    """Returns the settings of each trained agent; one comes after the one that it starts from.

    An agent that starts from another has its network. Beyond that, `training` of the experiment
    holds wherever the agent changes nothing.

    Args:
        config: the experiment.
        path: its file, for the messages.
    Raises:
        ConfigError: a change is unknown or out of range, or `start_from` makes no sense.
    """
    trained = config.benchmark.trained
    for name, agent in trained.items():
        _check_start(f"{path}: benchmark.trained.{name}.start_from", agent, trained)
    found: dict[str, ExperimentSettings] = {}
    while len(found) < len(trained):
        ready = [
            name
            for name, agent in trained.items()
            if name not in found and (agent.start_from is None or agent.start_from in found)
        ]
        if not ready:
            circle = ", ".join(name for name in trained if name not in found)
            raise ConfigError(
                f"{path}: benchmark.trained: start_from goes in a circle among {circle}; one has "
                "to start from scratch"
            )
        for name in ready:
            start = found.get(trained[name].start_from or "")
            found[name] = _with_changes(config, name, path, start)
    return found


def _check_start(where: str, agent: TrainedAgentSettings, known: Collection[str]) -> None:
    if agent.start_from is None:
        return
    if agent.phase == 1:
        raise ConfigError(
            f"{where}: phase 1 starts from scratch, got {agent.start_from!r}; leave it out, or "
            "set phase: 2"
        )
    if agent.start_from not in known:
        raise ConfigError(f"{where}: {unknown_name('trained agent', agent.start_from, known)}")


def _with_changes(
    config: ExperimentSettings, name: str, path: Path, start: ExperimentSettings | None
) -> ExperimentSettings:
    """Returns the settings with an agent's changes of `training`."""
    agent = config.benchmark.trained[name]
    base = config.training.model_dump()
    if start is not None:
        base["policy"] = start.training.policy.model_dump()
    where = f"benchmark.trained.{name}.training"
    try:
        training = parse_settings(merged(base, agent.training), TrainingSettings, where=where)
    except ConfigError as error:  # one path from the top of the file down to the key
        raise ConfigError(f"{path}: {where}.{str(error).removeprefix(f'{where}: ')}") from None
    if start is not None and training.policy != start.training.policy:
        raise ConfigError(
            f"{path}: {where}.policy: it starts from {agent.start_from!r} and has its network; "
            "leave `policy` out"
        )
    return config.model_copy(update={"training": training})


def write_settings(
    settings: Mapping[str, ExperimentSettings], config_path: Path, folder: Path
) -> None:
    """Writes the settings of each trained agent to FOLDER/NAME.yaml, for its jobs.

    Profile files, which are named relative to the experiment's file, get their full paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in settings.items():
        benchmark = config.benchmark
        here = config_path.parent.resolve()
        profiles = {key: str(here / file) for key, file in benchmark.profiles.items()}
        placed = benchmark.model_copy(update={"profiles": profiles})
        save_resolved(config.model_copy(update={"benchmark": placed}), folder / f"{name}.yaml")


def trained_jobs(
    agents: Mapping[str, TrainedAgentSettings],
    order: Sequence[str],
    *,
    settings: Path,
    folder: Path,
    options: Sequence[str],
) -> list[Job]:
    """Returns the training of every agent for one profile and seed.

    Args:
        agents: how each is trained.
        order: their names, one after the one that it starts from.
        settings: holds NAME.yaml of each.
        folder: gets a run folder NAME of each.
        options: of all commands, such as --seed.
    """
    jobs: dict[str, Job] = {}
    for name in order:
        agent, output = agents[name], folder / name
        arguments = ["--config", str(settings / f"{name}.yaml"), *options]
        if agent.start_from is not None:
            best = folder / agent.start_from / _BEST[agents[agent.start_from].phase]
            arguments += ["--checkpoint", str(best)]
        arguments += ["--output_dir", str(output)]
        # A run that was killed before its end left its last checkpoint.
        arguments += ["--resume"] if any(output.glob("*_last.*")) else []
        jobs[name] = Job(
            _MODULES[agent.phase],
            tuple(arguments),
            output / RESULT,
            after=jobs.get(agent.start_from or ""),
        )
    return list(jobs.values())
