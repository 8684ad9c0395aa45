"""Plays millions of random steps over random configurations and checks what always has to hold.

Run it with `make soak` or `python -m benchmarks.soak --steps N --seed S`. It ends with exit code 1
at the first error or violation, and prints the configuration with the command that repeats it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.invariants import Ledger, Limits, check_observation, check_state, require
from benchmarks.soak_cases import SoakCase, draw_case
from benchmarks.timing import print_machine, print_table, resident_mib
from orchestai_env.env import OrchestAIEnv
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.state import WORKFLOW
from orchestai_env.vector_env import OrchestAIVectorEnv

NUM_STEPS = 10_000_000
_RESET_CHANCE = 0.01  # of a reset before an episode's end, at each step
_PARTS = 10  # of a run; memory is noted after each


@dataclasses.dataclass
class Report:
    """What a soak did."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    """Steps, episodes and configurations, by kind."""
    resident: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    """Resident memory [MiB] after so many steps."""

    def note_memory(self) -> None:
        """Adds the memory that is resident now."""
        self.resident.append((self.counts["steps"], resident_mib()))


class SoakError(Exception):
    """A configuration raised or violated something; the cause says what."""

    def __init__(self, number: int, case: SoakCase | None) -> None:
        """Notes the configuration; None where it could not even be drawn."""
        super().__init__(str(case or f"configuration {number}"))
        self.number = number


def soak(
    num_steps: int,
    seed: int,
    numbers: Iterable[int] | None = None,
    *,
    progress: Callable[[int], object] = lambda steps: None,
) -> Report:
    """Plays random configurations until so many steps were made.

    Args:
        num_steps: least number of steps, of all rows together.
        seed: of everything random.
        numbers: configurations to play; None = 0, 1 and so on.
        progress: is told the steps that each configuration made.
    Raises:
        SoakError: something was raised or violated; its text is the configuration.
    """
    report = Report()
    report.note_memory()
    for number in itertools.count() if numbers is None else numbers:
        case: SoakCase | None = None
        before = report.counts["steps"]
        try:
            case = draw_case(seed, number)
            play(case, report.counts)
        except Exception as error:
            raise SoakError(number, case) from error
        made = report.counts["steps"]
        progress(made - before)
        if made * _PARTS // num_steps > before * _PARTS // num_steps:
            report.note_memory()
        if made >= num_steps:
            break
    return report


def play(case: SoakCase, counts: Counter[str]) -> None:
    """Plays one configuration and adds up what it did.

    Raises:
        ViolationError: an invariant does not hold.
        Exception: whatever the environment raises.
    """
    ledger = _play_single(case, counts) if case.num_envs is None else _play_batch(case, counts)
    counts["configurations"] += 1
    counts["configurations, single" if case.num_envs is None else "configurations, batched"] += 1
    counts["configurations, toy" if "toy" in case.data else "configurations, built-in"] += 1
    counts["episodes ended"] += ledger.num_ended
    counts["episodes that succeeded"] += ledger.num_successes
    counts["episodes truncated"] += ledger.num_truncated
    counts["masked actions replaced"] += ledger.num_replaced


def _play_batch(case: SoakCase, counts: Counter[str]) -> Ledger:
    assert case.num_envs is not None
    env = OrchestAIVectorEnv(
        case.num_envs,
        case.dataset,
        reward_weights=case.weights,
        observation=case.observation,
        **case.rules,
    )
    limits = Limits.of(env.rules, case.dataset.workflows.max_subtasks, is_covered=case.is_covered)
    space, rows = env.single_observation_space, (case.num_envs,)
    rng = np.random.default_rng([case.seed, case.number, 1])
    state, problem = env.episodes.state, env.episodes.problem

    def check(obs: Any, info: Any) -> None:
        check_observation(obs, space, rows)
        require(info["action_mask"] == state.mask, "info has the mask")
        if "action_mask" in obs:
            require(obs["action_mask"] == state.mask, "the observation has the mask")
        check_state(state, problem, limits)

    check(*env.reset(seed=case.number))
    ledger = Ledger(state, limits, problem.num_subtasks)
    for _ in range(case.num_steps):
        actions = _actions(rng, state.mask, case.follows_mask)
        obs, reward, terminated, truncated, info = env.step(actions)
        check(obs, info)
        ledger.step(state, actions, reward, terminated, truncated, restarts=True)
        if "final_obs" in info:
            done = info["_final_obs"]
            require(done == (terminated | truncated), "last observations are those that ended")
            final = {key: info["final_obs"][key][done] for key in space}
            check_observation(final, space, (int(done.sum()),))
        counts["steps"] += case.num_envs
        counts["steps, batched"] += case.num_envs
        if rng.random() < _RESET_CHANCE:
            check(*env.reset())
            ledger.begin(state)
    return ledger


def _play_single(case: SoakCase, counts: Counter[str]) -> Ledger:
    env = OrchestAIEnv(
        case.dataset, reward_weights=case.weights, observation=case.observation, **case.rules
    )
    limits = Limits.of(env.rules, case.dataset.workflows.max_subtasks, is_covered=case.is_covered)
    rng = np.random.default_rng([case.seed, case.number, 1])
    state, problem = env._episodes.state, env._episodes.problem

    def check(obs: Any, info: Any) -> None:
        check_observation(obs, env.observation_layout.space, ())
        require(info["action_mask"] == state.mask[0], "info has the mask")
        require(env.action_masks() == (state.mask[0] == 1), "action_masks is the mask")
        check_state(state, problem, limits)

    def reset(seed: int | None = None) -> None:
        workflow = int(rng.integers(len(case.dataset.workflows)))
        is_given = rng.random() < 0.5
        check(*env.reset(seed=seed, options={"workflow": workflow} if is_given else None))
        require(not is_given or state.episode[0, WORKFLOW] == workflow, "a reset obeys its option")

    reset(case.number)
    ledger = Ledger(state, limits, problem.num_subtasks)
    total = 0.0
    for _ in range(case.num_steps):
        actions = _actions(rng, state.mask, case.follows_mask)
        obs, reward, terminated, truncated, info = env.step(actions[0])
        check(obs, info)
        ends = np.array([terminated]), np.array([truncated])
        ledger.step(state, actions, np.array([reward]), *ends, restarts=False)
        require(sum(info["reward_terms"].values()) == reward, "info has the terms of the reward")
        total += reward
        counts["steps"] += 1
        counts["steps, single"] += 1
        if terminated or truncated:
            _check_result(env, info, total)
        if terminated or truncated or rng.random() < _RESET_CHANCE:
            reset()
            ledger.begin(state)
            total = 0.0
    return ledger


def _check_result(env: OrchestAIEnv, info: dict[str, Any], total: float) -> None:
    """Checks what the last info says of an episode whose rewards sum to `total`."""
    result, state = info["episode_result"], env._episodes.state
    names = ("success_weight", "cost_weight", "latency_weight", "shaping_weight")
    weights = RewardWeights(**dict(zip(names, state.weights[0].tolist(), strict=True)))
    worth = compute_reward(result, weights)
    scale = sum(np.abs(state.weights[0]) * (1.0, result.total_cost, result.total_latency_ms, 1.0))
    require(abs(worth - total) <= 1e-6 * abs(worth) + 1e-12 * scale, "a result is worth its return")
    subtasks = result.subtasks
    for i, j in env.dataset.workflows.links(int(state.episode[0, WORKFLOW])):
        if subtasks[j].start_ms is not None:
            require(subtasks[i].success, "a subtask starts after its parents have succeeded")
            require(subtasks[i].end_ms <= subtasks[j].start_ms, "a subtask starts after them")
    require(result.success is info["is_success"], "info says whether the episode succeeded")
    require(result.success == all(s.success for s in subtasks), "success is that of all subtasks")


def _actions(
    rng: np.random.Generator, mask: npt.NDArray[np.int8], follows_mask: bool
) -> npt.NDArray[np.int64]:
    """Draws a random action per row, allowed or any."""
    if not follows_mask:
        return rng.integers(mask.shape[1], size=len(mask)).astype(np.int64)
    chances: npt.NDArray[np.float64] = np.where(mask > 0, rng.random(mask.shape), -1.0)
    best: npt.NDArray[np.int64] = chances.argmax(axis=1)
    return best


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what was run, or the configuration that failed; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="steps of all rows together")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--only", type=int, help="number of the one configuration to play")
    args = parser.parse_args(argv)
    print_machine()
    begun = time.perf_counter()
    progress = _Progress(args.steps)
    try:
        numbers = None if args.only is None else [args.only]
        report = soak(args.steps, args.seed, numbers, progress=progress.add)
    except SoakError as error:
        progress.close()
        cause = error.__cause__
        print(f"{type(cause).__name__}: {cause}\n{error}")
        print(f"repeat: python -m benchmarks.soak --seed {args.seed} --only {error.number}")
        return 1
    progress.close()
    seconds = time.perf_counter() - begun
    rows = [(name, f"{count:,}") for name, count in report.counts.items()]
    print_table(("what was run", "count"), sorted(rows))
    memory = [(f"{steps:,}", f"{mib:.0f}") for steps, mib in report.resident]
    print_table(("steps", "resident memory [MiB]"), memory, texts=0)
    print(f"nothing was raised and no invariant violated, seed {args.seed}, {seconds:.0f} s")
    return 0


class _Progress:
    """A line on the terminal: tqdm's where it is installed, else a percentage now and then."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        try:
            tqdm: Any = importlib.import_module("tqdm")
            self._bar: Any = tqdm.tqdm(total=total, unit=" steps", unit_scale=True)
        except ImportError:
            self._bar = None

    def add(self, steps: int) -> None:
        """Tells of steps made."""
        before, self._done = self._done, self._done + steps
        if self._bar is not None:
            self._bar.update(steps)
        elif self._done * _PARTS // self._total > before * _PARTS // self._total:
            print(f"{self._done / self._total:.0%}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line."""
        if self._bar is not None:
            self._bar.close()


if __name__ == "__main__":
    sys.exit(main())
