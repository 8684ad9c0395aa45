"""Measures what the library costs: import time and environment steps per second.

Run it with `make bench`; pytest does not collect it. Times are the best of several runs, since
everything else on a machine only ever makes them longer.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import gymnasium as gym

import orchestai_env  # noqa: F401  (registers the environments)

ENV_ID = "OrchestAI-v0"
DEPENDENCIES = "import numpy, numba, gymnasium"
IMPORT_RUNS = 7
SINGLE_STEPS = 20_000
BATCH_SIZES = (16, 1024)
BATCH_STEPS = 500
STEP_RUNS = 3


def import_seconds(code: str) -> float:
    """Returns the shortest time [s] of a fresh interpreter that runs `code` and ends."""
    times = []
    for _ in range(IMPORT_RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def best_rate(run: Callable[[], int]) -> float:
    """Returns the highest steps per second of `run`, which returns how many steps it made."""
    run()  # compiles
    rates = []
    for _ in range(STEP_RUNS):
        start = time.perf_counter()
        num_steps = run()
        rates.append(num_steps / (time.perf_counter() - start))
    return max(rates)


def single_rate() -> float:
    """Returns steps per second of one environment under random actions."""
    env = gym.make(ENV_ID)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(SINGLE_STEPS)]

    def run() -> int:
        env.reset(seed=0)
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return SINGLE_STEPS

    rate = best_rate(run)
    env.close()
    return rate


def batch_rate(num_envs: int) -> float:
    """Returns steps per second, summed over `num_envs` batched environments."""
    envs = gym.make_vec(ENV_ID, num_envs=num_envs, vectorization_mode="vector_entry_point")
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(BATCH_STEPS)]

    def run() -> int:
        envs.reset(seed=0)
        for action in actions:
            envs.step(action)
        return BATCH_STEPS * num_envs

    rate = best_rate(run)
    envs.close()
    return rate


def main() -> None:
    """Prints one line per measurement."""
    base = import_seconds(DEPENDENCIES)
    full = import_seconds("import orchestai_env")
    print(f"{DEPENDENCIES}: {base:.3f} s")
    print(f"import orchestai_env: {full:.3f} s ({full - base:+.3f} s)")
    print(f"1 environment: {single_rate():,.0f} steps/s")
    for num_envs in BATCH_SIZES:
        print(f"{num_envs:,} environments: {batch_rate(num_envs):,.0f} steps/s")


if __name__ == "__main__":
    main()
