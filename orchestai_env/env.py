"""OrchestAIEnv: one workflow an episode, one worker an action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.datasets.folder import load_dataset
from orchestai_env.dynamics import CURRENT, NONE, ONGOING, REPLACED
from orchestai_env.episodes import EpisodeRules, Episodes
from orchestai_env.errors import ConfigError
from orchestai_env.observation import ObservationLayout
from orchestai_env.reward import REWARD_TERMS, RewardWeights
from orchestai_env.settings import load_yaml, parse_settings

Obs = dict[str, npt.NDArray[Any]]
_METADATA: dict[str, Any] = {"render_modes": [], "render_fps": 4}


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
    `Discrete(W)`: index of a worker. A masked worker is replaced by the next allowed one,
    cyclically, and counted in `info["masked_actions"]` (or raises, see `on_masked_action`).
    Masked are workers that cannot serve the task type, pairs without a recorded outcome, and
    workers whose upper cost estimate does not fit into the budget that is left.

    ## Observation Space
    A `Dict` of float32 in 0..1 (N = max_subtasks, W workers, T task types):

    | key | shape | content |
    |---|---|---|
    | `subtask` | (D,) | embedding of the current subtask; only where the data stores embeddings |
    | `subtasks` | (N, T + 11) | exists, task type, complexity, status, attempts, quality, \
slack to the critical path, is-current |
    | `adjacency` | (N, N) | [i, j] = 1 when j depends on i |
    | `workers` | (W, 12) | price, expected latency, predicted success and expected value on the \
current subtask, free slots, failed calls on it, kind |
    | `context` | (11,) | clock, spent, budget and deadline left, reward weights, progress, \
running calls, expected time left |
    | `action_mask` | (W,) int8 | 1 where the action is allowed; all ones at the end |

    Sums without a bound are squashed by x / (x + scale). Prices, latencies, success and complexity
    come from the training split. `observation_layout.feature_names` names every column.

    ## Rewards
    success_weight * [workflow succeeds now] - cost_weight * new cost - latency_weight * clock
    advance + shaping_weight * newly succeeded subtasks; over an episode the sum of `compute_reward`
    of its result. The default weights are the literal formula (USD, ms), see RewardWeights.

    ## Starting State
    A workflow drawn uniformly from the data set, or `options={"workflow": index}`. Clock and cost
    are 0.

    ## Episode End
    Terminated when all subtasks succeeded; when one failed (`on_failure="abort"`) or nothing is
    left that can run (`"continue"`); when the deadline passes. A READY subtask without an allowed
    worker fails at once; an episode that ends so before any decision ends at its first step,
    whatever the action. Truncated after `max_steps` decisions. At the end calls that have started
    are charged in full; waiting calls are dropped.

    ## Arguments
    - `dataset`: Dataset, or the folder of an imported one; None = the built-in simulated data.
    - `split`: "train", "validation" or "test" of that folder or of the built-in data.
    - `reward_weights`: RewardWeights, a mapping of its fields, or the path of a YAML profile.
    - `observation`: keys of the observation to keep; None = all that the data can fill.
    - `render_mode`: None (rendering comes with a later version).
    - the fields of EpisodeRules, by keyword.

    ## Info Keys
    `action_mask`, `masked_actions`, `reward_terms` (the four signed terms of the step), and at the
    end `is_success` and `episode_result` (ExecutionResult).

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
        split: str = "train",
        reward_weights: RewardWeights | Mapping[str, Any] | str | Path | None = None,
        observation: Sequence[str] | None = None,
        render_mode: str | None = None,
        **rules: Any,
    ) -> None:
        """Builds the environment; see the class for the arguments.

        Raises:
            ConfigError: an argument is unknown or out of range; the message names it.
            OrchestAIError: the data set cannot be read.
        """
        if render_mode is not None:
            raise ConfigError(f"render_mode: expected None, got {render_mode!r}")
        self.render_mode = render_mode
        self.dataset = resolve_dataset(dataset, split)
        self.reward_weights = resolve_weights(reward_weights)
        self.rules = parse_settings(rules, EpisodeRules, where="OrchestAI-v0")
        self.observation_layout = ObservationLayout.of(self.dataset, observation)
        self.observation_space = self.observation_layout.space
        self.action_space = gym.spaces.Discrete(len(self.dataset.pool))
        self._episodes = Episodes(
            self.dataset,
            n=1,
            rules=self.rules,
            weights=self.reward_weights,
            layout=self.observation_layout,
        )
        self._is_seeded = False
        self._action = np.zeros(1, np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Starts the next episode.

        Args:
            seed: restarts the random numbers; the same seed gives the same episodes.
            options: {"workflow": index into the data set} or None.
        Raises:
            ConfigError: an unknown option, or a workflow out of range.
        """
        super().reset(seed=seed)
        if seed is not None or not self._is_seeded:
            self._episodes.seed_row(0, self.np_random)
            self._is_seeded = True
        self._episodes.reset(workflows=workflow_option(options, 1))
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Calls worker `action` on the current subtask.

        Raises:
            gymnasium.error.ResetNeeded: the episode has ended, or none was started.
            ConfigError: the action is no worker index.
            MaskedActionError: a masked worker under on_masked_action="error".
        """
        episodes = self._episodes
        if not self._is_seeded or episodes.ended[0] != ONGOING:
            raise gym.error.ResetNeeded("the episode has ended or not begun; call reset() first")
        self._action[0] = self._checked_action(action)
        episodes.step(self._action)
        ended = episodes.ended[0]
        if ended == ONGOING:
            return self._observe(), float(episodes.reward[0]), False, False, self._info()
        info = self._info()
        info["is_success"] = bool(episodes.summary[0, 0])
        info["episode_result"] = episodes.result(0)
        terminated = bool(episodes.is_terminated()[0])
        return self._observe(), float(episodes.reward[0]), terminated, not terminated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Returns bool (W,): True where the action is allowed (the name sb3-contrib asks for)."""
        allowed: npt.NDArray[np.bool_] = self._episodes.state.mask[0] > 0
        return allowed

    @property
    def current_subtask(self) -> int | None:
        """Index of the subtask to decide on; None once the episode has ended."""
        current = int(self._episodes.state.episode[0, CURRENT])
        return None if current == NONE else current

    def _checked_action(self, action: Any) -> int:
        given, last = np.asarray(action), int(self.action_space.n) - 1
        if given.dtype.kind not in "iu" or given.size != 1 or not 0 <= given.item() <= last:
            raise ConfigError(f"action: expected a worker index 0..{last}, got {action!r}")
        return int(given.item())

    def _observe(self) -> Obs:
        keys, buffers = self.observation_layout.space.spaces, self._episodes.out
        return {key: getattr(buffers, key)[0].copy() for key in keys}

    def _info(self) -> dict[str, Any]:
        state = self._episodes.state
        return {
            "action_mask": state.mask[0].copy(),
            "masked_actions": int(state.episode[0, REPLACED]),
            "reward_terms": dict(zip(REWARD_TERMS, state.terms[0].tolist(), strict=True)),
        }


def resolve_dataset(dataset: Dataset | str | Path | None, split: str) -> Dataset:
    """Returns the data set itself, the one in a folder, or the built-in one.

    Raises:
        ConfigError: an unknown split.
        OrchestAIError: the folder cannot be read.
    """
    if isinstance(dataset, Dataset):
        return dataset
    if dataset is None:
        return builtin_dataset(split)
    if not isinstance(dataset, (str, Path)):
        raise ConfigError(f"dataset: expected a Dataset, a folder or None, got {dataset!r}")
    return load_dataset(Path(dataset), split)


def resolve_weights(
    weights: RewardWeights | Mapping[str, Any] | str | Path | None,
) -> RewardWeights:
    """Returns the weights themselves, or those of a mapping or a YAML profile.

    Raises:
        ConfigError: an unknown or mistyped key, or nothing that could be weights.
        MissingFileError: there is no such profile.
    """
    if weights is None:
        return RewardWeights()
    if isinstance(weights, RewardWeights):
        return weights
    if isinstance(weights, Mapping):
        return parse_settings(weights, RewardWeights, where="reward_weights")
    if not isinstance(weights, (str, Path)):
        raise ConfigError(
            "reward_weights: expected RewardWeights, a mapping of its fields or the path of a YAML "
            f"profile, got {weights!r}"
        )
    return load_yaml(weights, RewardWeights)


def workflow_option(options: dict[str, Any] | None, n: int) -> npt.NDArray[np.int64] | None:
    """Reads the option "workflow": one index, or one per row.

    Raises:
        ConfigError: an unknown option, or indexes of another shape.
    """
    if not options:
        return None
    if set(options) != {"workflow"}:
        raise ConfigError(f"options: expected {{'workflow': index}}, got keys {sorted(options)}")
    given = np.asarray(options["workflow"])
    if given.dtype.kind not in "iu" or given.shape not in ((), (n,)):
        raise ConfigError(
            f"options: expected workflow as one index or {n}, got {options['workflow']!r}"
        )
    return np.broadcast_to(given, (n,)).astype(np.int64)
