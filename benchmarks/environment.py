"""Measures environment steps per second, as ratios to Gymnasium's CartPole-v1.

Run it with `make bench` or `python -m benchmarks.environment`. EnvPool and PufferLib take part
where they are installed. Actions are random and drawn beforehand; episodes that end start anew, as
each library does it. Compare ratios, not rates, across machines.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from benchmarks.timing import (
    RESULT_COLUMNS,
    ROUNDS,
    SECONDS,
    Case,
    measure,
    num_cores,
    print_machine,
    print_table,
)
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.observation import KEYS, ObservationLayout
from orchestai_env.threads import RowThreads

ENV_ID = "OrchestAI-v0"
CART_POLE = "CartPole-v1"
OBSERVATIONS = {"full": None, "no embeddings": KEYS[2:]}
"""Observation -> its keys."""
BATCH_SIZES = (1, 16, 256, 1024, 4096, 8192)
THREADED = 4096
"""Batches of this size and more are stepped on one thread, then on all cores."""
PEER_SIZE = 1024
_NUM_ACTIONS = 64  # arrays of drawn actions, taken in turn


def single_case(env_id: str, cells: tuple[str, str], **arguments: Any) -> Case:
    """Returns one environment of `gym.make`, reset whenever an episode ends."""
    env = gym.make(env_id, **arguments)
    env.action_space.seed(0)
    actions = itertools.cycle([env.action_space.sample() for _ in range(1000)])
    env.reset(seed=0)

    def run(count: int) -> None:
        for action in itertools.islice(actions, count):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Case((*cells, "1", "1"), run)


def batch_case(n: int, cells: tuple[str, str], num_threads: int = 1) -> Case:
    """Returns n of our environments in one batch, on so many threads."""
    envs: Any = gym.make_vec(
        ENV_ID, n, vectorization_mode="vector_entry_point", observation=OBSERVATIONS[cells[1]]
    )
    envs.episodes.threads = RowThreads(n, num_threads)
    envs.reset(seed=0)
    run = _stepping(envs.step, int(envs.single_action_space.n), n, np.int64)
    return Case((*cells, f"{n:,}", str(num_threads)), run, n)


def copy_case(n: int, cells: tuple[str, str]) -> Case:
    """Returns copying n observations from one place to another, which no step can do without."""
    layout = ObservationLayout.of(builtin_dataset("validation"), OBSERVATIONS[cells[1]])
    pairs = [
        (np.ones_like(to), to) for to in layout.as_dict(layout.allocate(n)).values() if to.size
    ]

    def run(count: int) -> None:
        for _ in range(count):
            for source, to in pairs:
                np.copyto(to, source)

    return Case((*cells, f"{n:,}", "1"), run, n)


def gymnasium_case() -> Case:
    """Returns Gymnasium's own vector CartPole, which numpy steps."""
    envs = gym.make_vec(CART_POLE, PEER_SIZE, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    run = _stepping(envs.step, 2, PEER_SIZE, np.int64)
    cells = ("gymnasium CartPole-v1, vector", "4 floats", f"{PEER_SIZE:,}", "1")
    return Case(cells, run, PEER_SIZE)


def envpool_case(num_threads: int) -> Case:
    """Returns EnvPool's CartPole.

    Raises:
        ImportError: EnvPool is not installed.
    """
    envpool: Any = importlib.import_module("envpool")
    envs = envpool.make(
        CART_POLE, env_type="gymnasium", num_envs=PEER_SIZE, num_threads=num_threads
    )
    envs.reset()
    run = _stepping(envs.step, 2, PEER_SIZE, np.int32)
    cells = ("envpool CartPole-v1", "4 floats", f"{PEER_SIZE:,}", str(num_threads))
    return Case(cells, run, PEER_SIZE)


def pufferlib_case() -> Case:
    """Returns PufferLib's CartPole, written in C.

    Raises:
        ImportError: PufferLib is not installed, or without its environments in C.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # Importing it writes a link into the working directory.
        module: Any = importlib.import_module("pufferlib.ocean.cartpole.cartpole")
    envs = module.Cartpole(num_envs=PEER_SIZE, report_interval=1000)
    envs.reset(seed=0)
    run = _stepping(envs.step, 2, PEER_SIZE, np.float32)
    return Case(("pufferlib CartPole", "4 floats", f"{PEER_SIZE:,}", "1"), run, PEER_SIZE)


def _stepping(
    step: Callable[[Any], object], num_choices: int, n: int, dtype: Any
) -> Callable[[int], None]:
    """Returns a function that takes steps with random actions."""
    rng = np.random.default_rng(0)
    drawn: list[npt.NDArray[Any]] = [
        rng.integers(num_choices, size=n).astype(dtype) for _ in range(_NUM_ACTIONS)
    ]
    actions = itertools.cycle(drawn)

    def run(count: int) -> None:
        for action in itertools.islice(actions, count):
            step(action)

    return run


def our_cases() -> Iterator[Case]:
    """Yields our environments: single, in batches, and on all cores where these pay."""
    cores = num_cores()
    single, batch = f"{ENV_ID}, gym.make", f"{ENV_ID}, batched"
    for seen, keys in OBSERVATIONS.items():
        yield single_case(ENV_ID, (single, seen), observation=keys)
        for n in BATCH_SIZES:
            for num_threads in sorted({1, cores}) if n >= THREADED else [1]:
                yield batch_case(n, (batch, seen), num_threads)
        yield copy_case(PEER_SIZE, ("np.copyto of observations", seen))


def peer_cases() -> Iterator[Case]:
    """Yields the peers that are installed; says which are not."""
    yield gymnasium_case()
    makers: list[Callable[[], Case]] = [
        functools.partial(envpool_case, num_threads) for num_threads in sorted({1, num_cores()})
    ]
    for make in (*makers, pufferlib_case):
        try:
            yield make()
        except ImportError as error:
            print(f"left out: {error}")


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each case")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a measurement")
    args = parser.parse_args(argv)
    print_machine("envpool", "pufferlib")
    reference = single_case(CART_POLE, ("gymnasium CartPole-v1, gym.make", "4 floats"))
    cases = [*our_cases(), *peer_cases()]
    found = measure(reference, cases, rounds=args.rounds, seconds=args.seconds)
    header = ("environment", "observation", "n", "threads", *RESULT_COLUMNS)
    print_table(header, [measured.row for measured in found], texts=2)
    print(f"ratio: to {CART_POLE}, single, just before and after; median of {args.rounds} rounds")
    print("by CPU time: the same per second on a core, summed over threads")


if __name__ == "__main__":
    main()
