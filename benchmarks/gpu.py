"""Measures OrchestAICudaEnv: steps per second on an NVIDIA GPU, beside copies of the same bytes.

Run it with `python -m benchmarks.gpu`; it needs the extra `gpu` and ends with exit code 2 where
there is no GPU. Actions are random, drawn beforehand, and lie on the GPU; the clock stops when the
GPU has finished. A copy within the GPU's memory writes the same observation and reads as much.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.timing import ROUNDS, calls_in, print_machine, print_table, seconds_of, spread
from orchestai_env import cuda_env
from orchestai_env.cli import run_command
from orchestai_env.cuda_env import OrchestAICudaEnv
from orchestai_env.errors import MissingPackageError
from orchestai_env.observation import KEYS

OBSERVATIONS = {"full": None, "no embeddings": KEYS[2:]}
BATCH_SIZES = (16_384, 65_536)
SECONDS = 0.5
_NUM_ACTIONS = 16  # arrays of drawn actions, taken in turn


def stepping(env: Any, cuda: Any) -> Callable[[int], None]:
    """Returns a function that takes steps and waits until the GPU has done them."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(int(env.single_action_space.n), size=(_NUM_ACTIONS, env.num_envs))
    actions = itertools.cycle([cuda.to_device(row) for row in drawn])
    env.reset(seed=0)

    def run(count: int) -> None:
        for row in itertools.islice(actions, count):
            env.step(row)
        cuda.synchronize()

    return run


def copying(obs: dict[str, Any], cuda: Any) -> Callable[[int], None]:
    """Returns a function that copies an observation on the GPU and waits until that is done."""
    pairs = [(array, cuda.device_array_like(array)) for array in obs.values()]

    def run(count: int) -> None:
        for _ in range(count):
            for source, to in pairs:
                to.copy_to_device(source)
        cuda.synchronize()

    return run


def rows_of(n: int, seen: str, rounds: int, seconds: float) -> list[tuple[str, ...]]:
    """Measures steps and copies of one batch in turn; returns the rows of the table."""
    env = OrchestAICudaEnv(n, observation=OBSERVATIONS[seen])
    cuda: Any = cuda_env.cuda
    step = stepping(env, cuda)
    obs, _ = env.reset()
    runs = {"step": step, "copy": copying(obs, cuda)}
    counts = {name: calls_in(run, seconds) for name, run in runs.items()}
    row_bytes = sum(array.dtype.itemsize * array.size for array in obs.values()) // n
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            rates[name].append(1e-6 * n * counts[name] / seconds_of(run, counts[name]))
    shares = [step / copy for step, copy in zip(rates["step"], rates["copy"], strict=True)]
    return [
        (
            f"{n:,}",
            seen,
            name,
            *spread(found, 1),
            f"{sorted(found)[len(found) // 2] * row_bytes / 1000:,.0f}",
            spread(shares)[0] if name == "step" else "1.00",
        )
        for name, found in rates.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each case")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of a measurement")
    parser.add_argument("--num_envs", type=int, nargs="+", default=BATCH_SIZES, help="batch sizes")
    args = parser.parse_args(argv)
    run_command(lambda: _print(args))


def _print(args: argparse.Namespace) -> None:
    cuda: Any = cuda_env.cuda
    if not cuda.is_available():
        raise MissingPackageError(
            'no NVIDIA GPU found; this needs one and pip install "orchestai-env[gpu]"'
        )
    print_machine("numba-cuda")
    name = getattr(cuda.current_context().device, "name", "simulated")
    print(f"GPU: {name.decode() if isinstance(name, bytes) else name}\n")
    rows = [
        row
        for n in args.num_envs
        for seen in OBSERVATIONS
        for row in rows_of(n, seen, args.rounds, args.seconds)
    ]
    header = (
        *("n", "observation", "what", "million rows/s", "min", "max"),
        *("GB/s of observation", "of the copy"),
    )
    print_table(header, rows, texts=0)


if __name__ == "__main__":
    main()
