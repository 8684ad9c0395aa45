"""Measures what the library costs: import time and environment steps per second, as ratios.

Run it with `make bench`. Each figure is the median of several runs; compare ratios, not times,
across machines.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import gymnasium as gym

import orchestai_env  # noqa: F401  (registers the environments)

ENV_ID = "OrchestAI-v0"
DEPENDENCIES = "import numpy, numba, gymnasium"
RUNS = 7
SINGLE_STEPS = 20_000
BATCH_SIZES = (16, 1024)
BATCH_STEPS = 200


def median_seconds(run: Callable[[], object]) -> float:
    """Returns the median time [s] of several runs, after one that is not counted."""
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def import_seconds(code: str) -> float:
    """Returns the time [s] of a fresh interpreter that runs `code` and ends."""
    return median_seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))


def single_rate(env_id: str) -> float:
    """Returns steps per second of one environment under random actions."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(SINGLE_STEPS)]

    def run() -> None:
        env.reset(seed=0)
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    rate = SINGLE_STEPS / median_seconds(run)
    env.close()
    return rate


def batch_rate(num_envs: int) -> float:
    """Returns steps per second, summed over `num_envs` batched environments."""
    envs = gym.make_vec(ENV_ID, num_envs=num_envs, vectorization_mode="vector_entry_point")
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(BATCH_STEPS)]

    def run() -> None:
        envs.reset(seed=0)
        for action in actions:
            envs.step(action)

    rate = BATCH_STEPS * num_envs / median_seconds(run)
    envs.close()
    return rate


def main() -> None:
    """Prints one line per measurement."""
    base = import_seconds(DEPENDENCIES)
    full = import_seconds("import orchestai_env")
    print(f"{DEPENDENCIES}: {base:.2f} s")
    print(f"import orchestai_env: {full:.2f} s, {full / base:.2f} times as long")
    cart_pole = single_rate("CartPole-v1")
    print(f"CartPole-v1, one environment: {cart_pole:,.0f} steps/s")
    rates = {"one environment": single_rate(ENV_ID)}
    rates |= {f"{n:,} environments": batch_rate(n) for n in BATCH_SIZES}
    for name, rate in rates.items():
        print(f"{ENV_ID}, {name}: {rate:,.0f} steps/s, {rate / cart_pole:.2f} times CartPole-v1")


if __name__ == "__main__":
    main()
