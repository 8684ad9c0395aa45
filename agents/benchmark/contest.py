"""Contest: policies of files, on the same workflows, with intervals over queries and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track

from agents.agent import Agent, Obs, Setting, State
from agents.benchmark.resampling import MEASURES, measure
from agents.benchmark.workflows import ComparedWorkflows
from agents.checkpoint import build_policy, read_policy_weights
from agents.config import ExperimentSettings
from agents.evaluate import KEYS, Outcomes, evaluate
from agents.tune_tables import read_tables
from orchestai_env.engine import open_executor
from orchestai_env.reward import RewardWeights

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """One policy or table per seed, and what it is evaluated under."""

    name: str
    weights: RewardWeights
    files: tuple[Path, ...]
    """One per seed: a policy's .pth or .zip, or tables.json for its escalation table."""
    only: tuple[tuple[str, ...], ...] | None = None
    """One per seed: names of the workers that it may call; None = all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contest:
    """Plain values, so that worker processes can be sent it."""

    config: ExperimentSettings
    data: Path | None
    """Folder of an imported data set; None = built-in data."""
    contenders: tuple[Contender, ...]
    splits: tuple[str, ...]
    """To evaluate on; replicates are made of the last one alone."""

    @property
    def num_seeds(self) -> int:
        """Number of seeds of every contender."""
        return len(self.contenders[0].files)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """What the contenders did; C of them, S seeds, R replicates, M = len(MEASURES), W workers."""

    points: Mapping[str, FloatArray]
    """Split -> float64 (C, M, S): means over many workflows."""
    picks: Mapping[str, npt.NDArray[np.int64]]
    """Split -> int64 (C, S, W): calls of each worker in them."""
    replicates: FloatArray
    """float64 (C, M, R): means over resampled queries and seeds; the same ones for all."""

    def measure(self, split: str, name: str) -> FloatArray:
        """Returns float64 (C,): a measure's means over workflows and seeds."""
        found: FloatArray = self.points[split][:, MEASURES.index(name)].mean(axis=1)
        return found

    def resampled(self, name: str) -> FloatArray:
        """Returns float64 (C, R): a measure in each replicate."""
        found: FloatArray = self.replicates[:, MEASURES.index(name)]
        return found


class OnlyWorkers:
    """Hides other workers from an agent by its action mask, as long as one of its own is left."""

    def __init__(self, agent: Agent, allowed: npt.NDArray[np.bool_]) -> None:
        """Takes bool (W,); the workers that may be called."""
        self.agent, self._allowed = agent, allowed
        self.observation_keys = tuple(getattr(agent, "observation_keys", KEYS))

    def predict(
        self,
        observation: Obs,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        """Returns int64 (m,) workers; see Agent."""
        mask = observation["action_mask"]
        own = mask * self._allowed.astype(mask.dtype)
        kept = np.where(own.any(axis=-1, keepdims=True), own, mask)
        shown = {**observation, "action_mask": kept}
        return self.agent.predict(shown, state, episode_start, deterministic)


class _Arena:
    """Data and agents of a contest, loaded once per process."""

    def __init__(self, contest: Contest) -> None:
        torch.set_num_threads(1)
        self.contest = contest
        self._agents: dict[Path, Agent] = {}
        weights = contest.contenders[0].weights  # every contender is given its own afterwards
        self._workflows = ComparedWorkflows(contest.config, contest.data, weights, contest.splits)
        self._setting = self._workflows.settings[contest.splits[0]]

    def points(self, split: str, index: int) -> list[Outcomes]:
        """Runs every seed of a contender over the workflows of a split."""
        contender, seed = self.contest.contenders[index], self.contest.config.seed
        setting = dataclasses.replace(self._workflows.many(split), weights=contender.weights)
        return [evaluate(agent, setting, seed=seed) for agent in self._agents_of(contender)]

    def replicate(self, index: int) -> FloatArray:
        """Returns float64 (C, M): all contenders on the same resampled queries and seeds."""
        contest = self.contest
        drawn = self._workflows.resampled(contest.splits[-1], index, num_seeds=contest.num_seeds)
        means = []
        for contender in contest.contenders:
            setting = dataclasses.replace(drawn.setting, weights=contender.weights)
            given = dataclasses.replace(drawn, setting=setting)
            means.append(measure(self._agents_of(contender), given).mean(axis=1))
        return np.stack(means)

    def _agents_of(self, contender: Contender) -> Sequence[Agent]:
        agents = [self._agent(path) for path in contender.files]
        if contender.only is None:
            return agents
        names = self._setting.dataset.pool.names
        return [
            OnlyWorkers(agent, np.isin(names, own))
            for agent, own in zip(agents, contender.only, strict=True)
        ]

    def _agent(self, path: Path) -> Agent:
        if path not in self._agents:
            if path.suffix == ".json":
                self._agents[path] = read_tables(path, self._setting)["escalation"]
            else:
                self._agents[path] = load_policy(path, self._setting)
        return self._agents[path]


def load_policy(path: Path, setting: Setting) -> Agent:
    """Loads a trained policy of ours for the workers of a setting, whichever it was trained on.

    Raises:
        OrchestAIError: the file is missing, broken, or of other task types.
    """
    state, policy_kwargs = read_policy_weights(path, setting.dataset)
    policy: Agent = build_policy(setting, policy_kwargs, state, path)
    return policy


_in_process: _Arena | None = None


def _start_process(contest: Contest) -> None:
    global _in_process  # one per worker process; the executor's initializer has no other place
    _in_process = _Arena(contest)


def _points(split: str, index: int) -> tuple[str, int, FloatArray, npt.NDArray[np.int64]]:
    assert _in_process is not None
    found = _in_process.points(split, index)
    values = [
        [
            of.episode_return.mean(),
            of.success.mean(),
            of.cost_usd.mean(),
            of.latency_ms.mean() / 1e3,
        ]
        for of in found
    ]
    picks = np.stack([of.picks.sum(axis=(0, 1)) for of in found])
    return split, index, np.array(values).T, picks


def _replicate(index: int) -> tuple[int, FloatArray]:
    assert _in_process is not None
    return index, _in_process.replicate(index)


def hold_contest(contest: Contest) -> Standing:
    """Evaluates all contenders on every split, and on resampled queries of the last one.

    Raises:
        OrchestAIError: the data or a file of a contender is wrong, or a worker process died.
    """
    benchmark, count = contest.config.benchmark, len(contest.contenders)
    arena = _Arena(contest)  # what is wrong shows here in one line, not as a broken worker process
    for contender in contest.contenders:
        arena._agents_of(contender)
    points = {
        split: np.zeros((count, len(MEASURES), contest.num_seeds)) for split in contest.splits
    }
    picks: dict[str, dict[int, npt.NDArray[np.int64]]] = {split: {} for split in contest.splits}
    replicates = np.zeros((count, len(MEASURES), benchmark.replicates))
    with open_executor(benchmark.engine, benchmark.num_jobs, _start_process, (contest,)) as pool:
        pairs = [(split, index) for split in contest.splits for index in range(count)]
        of_points = [pool.submit(_points, *pair) for pair in pairs]
        of_replicates = [pool.submit(_replicate, index) for index in range(benchmark.replicates)]
        waiting: list[Any] = [*of_points, *of_replicates]
        for future in track(as_completed(waiting), "evaluating", len(waiting)):
            future.result()
        for done in of_points:
            split, index, values, calls = done.result()
            points[split][index], picks[split][index] = values, calls
        for drawn in of_replicates:
            index, means = drawn.result()
            replicates[:, :, index] = means
    stacked = {split: np.stack([found[i] for i in range(count)]) for split, found in picks.items()}
    return Standing(points=points, picks=stacked, replicates=replicates)


def interval(values: FloatArray) -> list[float]:
    """Returns the 95 % interval of replicates."""
    low, high = np.percentile(values, (2.5, 97.5))
    return [float(low), float(high)]
