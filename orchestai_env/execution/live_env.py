"""LiveOrchestAIEnv: OrchestAI-v0 whose calls are real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.arguments import resolve_dataset
from orchestai_env.buffers import Buffer
from orchestai_env.dataset import Dataset
from orchestai_env.env import Obs, OrchestAIEnv
from orchestai_env.errors import ConfigError
from orchestai_env.execution.execution import Execution, Means
from orchestai_env.execution.live_setup import close_workers, live_means, live_workflows
from orchestai_env.execution.loop_thread import LoopThread
from orchestai_env.execution.workers.worker_settings import LivePool, load_workers
from orchestai_env.planning.planner import Plan
from orchestai_env.state import NUMBER, WORKFLOW
from orchestai_env.workflow import Workflow, read_workflows


class LiveOrchestAIEnv(OrchestAIEnv):
    """`OrchestAI-v0` on wall-clock time: a step calls a real worker and waits as it must.

    The rules, the observation and the reward are those of `OrchestAIEnv`; the clock counts the time
    that decisions take, too. Calls run on in a thread of their own while the agent thinks. When an
    episode ends, or is reset, calls that still run are cancelled and charged for what they had
    cost. `fork`, copies and pickles are refused: nobody can call a worker twice for one episode.
    """

    def __init__(
        self,
        *,
        workers: LivePool | str | Path,
        workflows: Sequence[Workflow] | str | Path,
        checks: Mapping[str, Any] | str | Path | None = None,
        budget_usd: float | None = None,
        dataset: Dataset | str | Path | None = None,
        split: str | None = None,
        **arguments: Any,
    ) -> None:
        """Builds the environment; nothing is called yet.

        Args:
            workers: YAML file of workers, see worker_settings.py, or what was read from one.
            workflows: to play, or a JSONL file of them.
            checks: settings of success checks, or their YAML file; see `load_checks`.
            budget_usd: most that all episodes may cost [USD], judging included; None = no limit. A
                step that needs more raises BudgetError.
            dataset: data set or its folder, whose statistics the observation shows of the workers;
                None = what their prices and speeds let assume.
            split: of the folder.
            **arguments: reward_weights, observation, render_mode and the rules of OrchestAIEnv.
        Raises:
            OrchestAIError: an argument is unknown, out of range or cannot be read.
        """
        pool = workers if isinstance(workers, LivePool) else load_workers(workers)
        self._workflows = (
            read_workflows(workflows) if isinstance(workflows, (str, Path)) else list(workflows)
        )
        if not self._workflows:
            raise ConfigError(f"workflows: expected at least one, got none in {workflows!r}")
        known = None if dataset is None else resolve_dataset(dataset, split)
        self._execution: Execution | None = None
        super().__init__(live_workflows(pool, self._workflows, known), **arguments)
        self._thread = LoopThread()
        self._means, self._called = live_means(
            pool, checks=checks, budget_usd=budget_usd, clock=self._thread.time
        )

    @property
    def means(self) -> Means:
        """What calls the workers; its ledger knows what all episodes have cost."""
        return self._means

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Starts the next episode, after the calls of an unfinished one are cancelled."""
        self._stop()
        obs, info = super().reset(seed=seed, options=options)
        row = self._episodes.state.episode[0]
        workflow = self._workflows[int(row[WORKFLOW])]
        plan = Plan(workflow=workflow.topologically_sorted(), planner="annotated", confidence=1.0)
        self._execution = Execution(
            f"{workflow.id}-{int(row[NUMBER])}",
            plan,
            self._episodes,
            self._means,
        )
        self._execution.begin()
        return obs, info

    def close(self) -> None:
        """Cancels what runs and closes the workers; a second time does nothing."""
        if not self._thread.is_closed:
            self._stop()
            self._thread.run(close_workers(self._called))
            self._thread.close()
        super().close()

    def fork(self, seed: int | None = None) -> Any:
        """Refuses.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("fork: a live episode has no copy; plan in a simulated environment")

    def __reduce__(self) -> Any:
        """Refuses to be copied or pickled."""
        raise ConfigError("copy: a live environment cannot be copied or pickled; make another")

    def _bind(self) -> None:
        super()._bind()
        self._step_one = self._call_and_wait

    def _call_and_wait(self, action: int, buffer: Buffer) -> float:
        """Steps the live episode; writes all of the buffer, and returns the reward."""
        assert self._execution is not None
        self._episodes.write_to(buffer)
        self._thread.run(self._execution.step(action))
        return float(self._episodes.reward[0])

    def _stop(self) -> None:
        if self._execution is not None:
            self._thread.run(self._execution.stop())
