"""OrchestAIEnv: one workflow an episode, one worker an action."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from orchestai_env.arguments import (
    as_array,
    checked_seed,
    instruction_option,
    resolve_dataset,
    resolve_plans,
    resolve_rules,
    resolve_weights,
    workflow_option,
)
from orchestai_env.buffers import BufferPool, single_buffer
from orchestai_env.dataset import Dataset
from orchestai_env.episodes import Episodes
from orchestai_env.errors import ConfigError, shown
from orchestai_env.observation import ObservationLayout
from orchestai_env.planning.planned import check_same_embeddings, planned_dataset
from orchestai_env.planning.planner import Planner, PlanSummaries, summaries
from orchestai_env.render.renderer import RENDER_FPS, RENDER_MODES, Renderer
from orchestai_env.reward import REWARD_TERMS, RewardWeights
from orchestai_env.state import (
    CURRENT,
    KEY,
    NONE,
    NUMBER,
    ONGOING,
    REPLACED,
    TERMINATED,
    WORKFLOW,
)

Obs = dict[str, npt.NDArray[Any]]
_METADATA: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}


class OrchestAIEnv(gym.Env[Obs, np.int64]):
    """Choose the worker model that runs each subtask of a workflow.

    ## Description
    An episode is one workflow: a DAG of subtasks. A subtask is READY once all that it depends on
    has SUCCEEDED. Each step chooses the worker for the READY subtask with the lowest index. Its
    call starts when the worker has a free slot and fewer than `max_parallel_tasks` calls run (first
    come, first served; a waiting call has the status RUNNING), and ends after its latency; its cost
    and result become known only then. While another subtask is READY the clock stands still,
    otherwise it moves to the next completion. A failed call makes its subtask READY again, until
    `max_attempts` calls have failed.

    ## Action Space
    `Discrete(W)`: index of a worker. `worker_names` says which worker each action calls in this
    episode, None where it is absent (see `min_workers` and `shuffle_workers`).

    A masked worker is replaced by the next allowed one, cyclically, and counted in
    `info["masked_actions"]` (or raises, see `on_masked_action`). Masked are absent workers, workers
    that cannot serve the task type, pairs without a recorded outcome, and workers whose upper cost
    estimate does not fit into the budget that is left. Running and waiting calls hold their
    estimates; a call may cost more. At the end of an episode the mask is all ones. It is in
    the observation, in `info["action_mask"]` and, as booleans, in `action_masks()`.

    ## Observation Space
    A `Dict` of float32 in 0..1 (N = max_subtasks, W workers, T task types, D numbers of an
    embedding):

    | key | shape | content |
    |---|---|---|
    | `instruction` | (D,), -10..10 | sentence embedding of the instruction; only where the data \
stores embeddings |
    | `subtask` | (D,), -10..10 | likewise of the current subtask's text; all 0 at the end |
    | `subtasks` | (N, T + 11) | exists, task type, complexity, status, attempts, quality, \
slack to the critical path, is-current |
    | `adjacency` | (N, N) | [i, j] = 1 when j depends on i |
    | `workers` | (W, 12) | by action: price, expected latency, predicted success and expected \
value on the current subtask, free slots, failed calls on it, kind |
    | `context` | (11,) | clock, spent, budget and deadline left, reward weights, progress, \
running calls, expected time left |
    | `action_mask` | (W,) int8, 0 or 1 | 1 where the action is allowed |

    `observation_layout.feature_names` names every column; `orchestai_env.feature_columns` says what
    each holds. Prices, latencies, success and complexity come from the training split. Nothing
    there could not be known in production: no outcome of a running call, no hidden difficulty.

    ## Rewards
    success_weight * [workflow succeeds now] - cost_weight * new cost - latency_weight * clock
    advance + shaping_weight * newly succeeded subtasks; over an episode the sum of `compute_reward`
    of its result (with the weights given; `preference_spread` gives an episode its own). The
    default weights are the literal formula (USD, ms), see RewardWeights.

    ## Starting State
    A workflow drawn uniformly from the data set, or `options={"workflow": index}`. With a planner
    it is the plan of that workflow's instruction, and `options={"instruction": text}` plays the
    plan of any other text. Clock and cost are 0. The rules `preference_spread`, `price_spread`,
    `latency_spread`, `min_workers` and `shuffle_workers` draw reward weights, prices, latencies,
    the workers that are there, and their order anew for each episode.

    ## Episode End
    Terminated when all subtasks succeeded; when one failed (`on_failure="abort"`) or nothing is
    left that can run (`"continue"`); when the deadline passes. A READY subtask without an allowed
    worker fails at once; an episode that ends so before any decision ends at its first step,
    whatever the action. Truncated after `max_steps` decisions. At the end calls that have started
    are charged in full; waiting calls are dropped.

    ## Arguments
    `gym.make(..., outcomes="live", workers=, workflows=)` plays with real workers instead, on
    wall-clock time; LiveOrchestAIEnv in orchestai_env/execution/ says how.

    - `dataset`: Dataset, or the folder of an imported one; None = the built-in simulated data.
    - `split`: "train", "validation" or "test" of that folder or of the built-in data; None = train.
      A Dataset is taken as it is, and an error beside a split.
    - `planner`: a Planner (see `orchestai_env.planning`). It plans all instructions of the data set
      when the environment is made, and its workflows are played instead of the annotated ones.
      Outcomes must be simulated: recorded ones belong to annotated subtasks. Embeddings are those
      of the plans; where one plan has none, the observation has no such key. None = no planner.
    - `reward_weights`: RewardWeights, a mapping of its fields, or the path of a YAML profile.
    - `observation`: keys of the observation to keep; None = all that the data can fill.
    - `render_mode`: "ansi" (text), "rgb_array" (uint8 (600, 960, 3)) or "human" (a window that
      every reset and step update); the last two need the extra `render`. None = nothing to see.
    - the fields of EpisodeRules, by keyword.

    A wrong argument, also one of `reset` or `step`, raises an OrchestAIError that names it.

    ## Info Keys

    | key | when | content |
    |---|---|---|
    | `action_mask` | always | as in the observation, also where that leaves it out |
    | `masked_actions` | always | masked actions replaced in this episode so far |
    | `reward_terms` | always | the four signed terms of the reward of this step, by name; 0 after \
a reset |
    | `is_success` | at the end | whether the workflow succeeded |
    | `episode_result` | at the end | ExecutionResult: what each subtask did, took and cost |
    | `plan` | with a planner, after a reset and at the end | `planner`: name of the one that made \
the plan; `confidence`, 0..1; `fallback_reason`: why it was not the first planner, or None |

    ## Random Numbers
    `reset(seed=s)` starts a sequence of episodes over: the same seed gives the same ones, whatever
    was done before; `reset()` goes on to the next. Every number is a hash (Philox) of seed, episode
    number, subtask, worker and attempt, so it depends neither on the order of calls nor on the
    number of environments, and agents with one seed draw the same numbers for the same calls.

    ## Copies and Memory
    `fork()` copies a running episode for planners in microseconds and shares the data; with a seed
    the copy's future differs. `copy.deepcopy` and pickle copy everything and go on alike.

    Arrays of an observation are its own as long as anybody holds them; a later step may reuse them
    once nobody does. Copy them before you write into them: `info["action_mask"]` may be one of
    them.

    ## Version History
    - v0: initial version
    """

    metadata = _METADATA
    observation_space: gym.spaces.Space[Any]
    action_space: gym.spaces.Discrete

    def __init__(
        self,
        dataset: Dataset | str | Path | None = None,
        *,
        split: str | None = None,
        planner: Planner | None = None,
        reward_weights: RewardWeights | Mapping[str, Any] | str | Path | None = None,
        observation: Sequence[str] | None = None,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        """Builds the environment; see the class for the arguments.

        Raises:
            ConfigError: an argument is unknown or out of range; the message names it.
            OrchestAIError: the data set cannot be read, or an instruction not be planned.
        """
        self._renderer = Renderer(render_mode)
        self.render_mode = render_mode
        annotated = resolve_dataset(dataset, split)
        self.reward_weights = resolve_weights(reward_weights)
        self.rules = resolve_rules(rules)
        self._planner = planner
        self.dataset, self._plans = resolve_plans(annotated, planner, observation)
        self.observation_layout = ObservationLayout.of(self.dataset, observation)
        self.observation_space = self.observation_layout.space
        self.action_space = gym.spaces.Discrete(len(self.dataset.pool))
        self._num_workers = len(self.dataset.pool)
        self._is_seeded = False
        self._play(self.dataset, self._plans)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Starts the next episode.

        Args:
            seed: restarts the random numbers; the same seed gives the same episodes.
            options: {"workflow": index into the data set}, with a planner also {"instruction":
                text}, or None.
        Raises:
            ConfigError: no seed, an unknown option, or a workflow out of range.
            PlanningError: the instruction cannot be planned; the last episode stays as it is.
        """
        seed = checked_seed(seed)
        workflow = self._choose(options)
        if seed is not None or not self._is_seeded:
            super().reset(seed=seed)
            self._episodes.seed_row(0, self.np_random)
            self._is_seeded = True
        self._buffer = self._buffers.take()
        self._episodes.reset_one(workflow, self._buffer)
        self._is_running = True
        if self.render_mode is not None:
            self._renderer.begin(self._episodes)
        info = self._info()
        info["reward_terms"] = dict.fromkeys(REWARD_TERMS, 0.0)  # the state has the last step's
        self._add_plan(info)
        return self._observe(), info

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Calls worker `action` on the current subtask.

        Raises:
            gymnasium.error.ResetNeeded: the episode has ended, or none was started.
            ConfigError: the action is no worker index.
            MaskedActionError: a masked worker under on_masked_action="error".
        """
        if not self._is_running:
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() first")
        if type(action) is np.int64:
            action = int(action)
        if type(action) is not int or not 0 <= action < self._num_workers:
            action = self._checked_action(action)
        buffer = self._buffer = self._buffers.take()
        reward = self._step_one(action, buffer)
        if self.render_mode is not None:
            self._renderer.update(self._episodes)
        ended = self._ended.item(0)
        if ended == ONGOING:
            return self._observe(), reward, False, False, self._info()
        self._is_running = False
        info = self._info()
        info["is_success"] = bool(self._episodes.summary[0, 0])
        info["episode_result"] = self._episodes.result(0)
        self._add_plan(info)
        return self._observe(), reward, ended == TERMINATED, ended != TERMINATED, info

    def render(self) -> Any:
        """Returns text (str) or an image, uint8 (600, 960, 3), or shows it in a window.

        Raises:
            gymnasium.error.DependencyNotInstalled: images need the extra `render`.
        """
        return self._renderer.render()

    def close(self) -> None:
        """Closes the window, where there is one."""
        self._renderer.close()

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns bool (W,): True where the action is allowed (the name sb3-contrib asks for)."""
        allowed: npt.NDArray[np.bool_] = self._episodes.state.mask[0] > 0
        return allowed

    @property
    def episodes(self) -> Episodes:
        """The running episode as row 0, for the planners of `orchestai_env.oracle`."""
        return self._episodes

    @property
    def current_subtask(self) -> int | None:
        """Index of the subtask to decide on; None once the episode has ended."""
        current = int(self._episodes.state.episode[0, CURRENT])
        return None if current == NONE else current

    @property
    def worker_names(self) -> tuple[str | None, ...]:
        """Worker that each action calls in this episode; None where it is absent."""
        return self._episodes.worker_names(0)

    def fork(self, seed: int | None = None) -> Self:
        """Returns an independent copy of the environment in its present state, for planners.

        It shares the data and costs microseconds, not a copy of them.

        Args:
            seed: None keeps the random numbers: the copy meets the very outcomes that the original
                would, which only hindsight knows. A number draws others for all calls that have not
                started yet, hidden difficulty included; recorded outcomes stay what they are.
        Raises:
            ConfigError: no seed.
        """
        twin = copy.copy(self)
        twin._episodes = self._episodes.fork(checked_seed(seed))
        twin.render_mode, twin._renderer = None, Renderer(None)
        twin._np_random = copy.deepcopy(self._np_random)
        twin._buffers = BufferPool(functools.partial(single_buffer, self.observation_layout))
        twin._bind()
        return twin

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reads the rows of the new arrays."""
        self.__dict__.update(state)
        self._bind()

    def _choose(self, options: dict[str, Any] | None) -> int | None:
        """Chooses what the next episode plays; returns its workflow, None where it is drawn."""
        instruction = None if self._planner is None else instruction_option(options)
        if instruction is not None:
            self._plan(instruction)
            return None
        workflows = None if options is None else workflow_option(options, 1)
        if self._episodes.dataset is not self.dataset:
            self._continue_with(self.dataset, self._plans)
        return None if workflows is None else int(workflows[0])

    def _plan(self, instruction: str) -> None:
        """Makes the plan of an instruction the only workflow to play."""
        assert self._planner is not None
        planned, plans = planned_dataset(self.dataset, self._planner, [instruction])
        keys = self.observation_layout.space.spaces
        check_same_embeddings(planned, self._planner, keys, self.dataset)
        self._continue_with(planned, summaries(plans))

    def _continue_with(self, dataset: Dataset, plans: PlanSummaries | None) -> None:
        """Plays other workflows from now on; the random numbers go on where they are."""
        row = self._episodes.state.episode[0]
        self._play(dataset, plans)
        self._episodes.state.episode[0, [KEY, NUMBER]] = row[[KEY, NUMBER]]

    def _play(self, dataset: Dataset, plans: PlanSummaries | None) -> None:
        """Plays the workflows of a data set; a reset starts the first episode."""
        self._episodes = Episodes(
            dataset,
            n=1,
            rules=self.rules,
            weights=self.reward_weights,
            layout=self.observation_layout,
        )
        self._played_plans = plans
        self._buffers = BufferPool(functools.partial(single_buffer, self.observation_layout))
        self._is_running = False
        self._bind()

    def _add_plan(self, info: dict[str, Any]) -> None:
        """Says in `info`, where there is a planner, whose plan the episode plays."""
        if self._played_plans is not None:
            workflow = self._episodes.state.episode.item(0, WORKFLOW)
            info["plan"] = self._played_plans[workflow].copy()

    def _bind(self) -> None:
        """Notes the rows that every step reads."""
        state = self._episodes.state
        self._mask, self._terms, self._ended = state.mask[0], state.terms[0], state.ended
        self._step_one = self._episodes.step_one
        self._replaced = state.episode[0, REPLACED : REPLACED + 1]

    def _checked_action(self, action: Any) -> int:
        if isinstance(action, np.integer):
            index = int(action)
        else:
            given = as_array(action)
            index = int(given.item()) if given.dtype.kind in "iu" and given.size == 1 else -1
        if not 0 <= index < self._num_workers:
            last = self._num_workers - 1
            raise ConfigError(f"action: expected a worker index 0..{last}, got {shown(action)}")
        return index

    def _observe(self) -> Obs:
        return self._buffer.by_key.copy()

    def _info(self) -> dict[str, Any]:
        success, cost, latency, shaping = self._terms.tolist()
        mask = self._buffer.by_key.get("action_mask")
        return {
            "action_mask": self._mask.copy() if mask is None else mask,
            "masked_actions": self._replaced.item(0),
            "reward_terms": {
                "success": success,
                "cost": cost,
                "latency": latency,
                "shaping": shaping,
            },
        }
