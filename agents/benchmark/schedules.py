"""Schedules of a typical episode: every agent on the same workflow, drawn as Gantt charts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from agents.agent import Agent, Setting, State
from agents.benchmark.workbench import ComparisonPlan, Workbench
from agents.evaluate import KEYS, evaluate
from orchestai_env.episodes import Episodes
from orchestai_env.render.image import render_image
from orchestai_env.schedule import Schedule, ScheduleRecorder

MIN_SUBTASKS = 4
"""Subtasks of a typical workflow, where there is one of so many: less shows no order of calls."""


def write_schedules(plan: ComparisonPlan, pictures: Mapping[str, Path], reference: str) -> None:
    """Draws the schedules of agents on the test workflow that is typical for the reference.

    Args:
        plan: the comparison; of every agent that of the first seed is shown.
        pictures: agent -> PNG to write.
        reference: the agent whose median return makes a workflow typical.
    """
    workbench = Workbench(plan)
    setting, seed = workbench.workflows("test", few=True), plan.config.seed
    returns = evaluate(workbench.agents(reference)[0], setting, seed=seed).episode_return
    chosen = typical_workflow(returns, setting.dataset.workflows.num_subtasks)
    workflows = setting.dataset.workflows.take(np.array([chosen]))
    single = dataclasses.replace(setting, dataset=setting.dataset.with_workflows(workflows))
    for name, path in pictures.items():
        schedule = record(workbench.agents(name)[0], single, seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(render_image(schedule, width=960, height=420))
        picture.quantize(64).save(path, optimize=True)  # few colours; a third of the bytes


def typical_workflow(
    returns: npt.NDArray[np.float64], num_subtasks: npt.NDArray[np.integer[Any]]
) -> int:
    """Returns the workflow whose return is nearest to the median; of equals the first.

    Args:
        returns: float64 (m,).
        num_subtasks: int (m,); workflows of MIN_SUBTASKS or more are preferred.
    """
    distance = np.abs(returns - np.median(returns))
    large = num_subtasks >= MIN_SUBTASKS
    return int(np.where(large | ~large.any(), distance, np.inf).argmin())


def record(agent: Agent, setting: Setting, *, seed: int) -> Schedule:
    """Plays an agent through the one workflow of a setting and returns what it did when."""
    recorder = _Recorder(agent)
    evaluate(recorder, setting, seed=seed)
    return recorder.finish()


class _Recorder:
    """Passes an agent's choices on, and looks at the episode after every step."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._calls = ScheduleRecorder()
        self._episodes: Episodes | None = None
        self._has_stepped = False
        self.observation_keys = tuple(getattr(agent, "observation_keys", KEYS))

    def attach(self, episodes: Episodes) -> None:
        if hasattr(self._agent, "attach"):
            self._agent.attach(episodes)
        self._episodes = episodes
        self._calls.begin(episodes)

    def predict(
        self,
        observation: Any,
        state: State = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], State]:
        self._look()
        self._has_stepped = True
        return self._agent.predict(
            observation, state=state, episode_start=episode_start, deterministic=deterministic
        )

    def finish(self) -> Schedule:
        """Looks at the end of the episode, which comes after the last choice."""
        self._look()
        return self._calls.schedule

    def _look(self) -> None:
        if self._has_stepped:
            assert self._episodes is not None
            self._calls.update(self._episodes)
