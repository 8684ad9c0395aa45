"""Measures what the bounds and the lookahead of `orchestai_env.oracle` earn, and their time.

Run it with `python -m benchmarks.bounds`. Every policy plays the same workflows with the same luck.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.timing import print_machine, print_table
from orchestai_env.arguments import resolve_weights
from orchestai_env.dataset import Dataset
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.episodes import Episodes
from orchestai_env.observation import ObservationLayout
from orchestai_env.oracle import Lookahead, hindsight_optimum, hindsight_utility, peek
from orchestai_env.reward import RewardWeights
from orchestai_env.rules import EpisodeRules
from orchestai_env.state import KEY, ONGOING

Choice = Callable[[Episodes, npt.NDArray[np.int64]], npt.NDArray[np.int64]]
_REPLICATES = 2000


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one line per policy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=200, help="first of the validation split")
    parser.add_argument("--rewards", default="configs/rewards/balanced.yaml")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    print_machine()
    dataset = builtin_dataset("validation").first(args.workflows)
    weights = resolve_weights(args.rewards)
    is_exact: list[bool] = []
    returns: dict[str, npt.NDArray[np.float64]] = {}
    rows = []
    for name, choose in make_policies(dataset, weights, args.seed, is_exact).items():
        episodes = start(dataset, weights, args.seed)
        choose(episodes.fork(), np.arange(1))  # compiles
        returns[name], seconds = play(episodes, choose)
        rows.append((name, *interval(returns[name]), f"{1e3 * seconds:,.2f}"))
    print_table(("policy", "mean return", "95 % interval", "ms per decision"), rows)
    gain = returns["lookahead"] - returns["greedy by expected value"]
    print(f"lookahead minus greedy, paired: {' '.join(interval(gain))}")
    print(f"searches finished: {sum(is_exact):,} of {len(is_exact):,}")


def make_policies(
    dataset: Dataset, weights: RewardWeights, seed: int, is_exact: list[bool]
) -> dict[str, Choice]:
    """Returns the policies by name; `is_exact` notes whether each search was finished."""
    lookahead, rng = Lookahead(dataset, seed=seed), np.random.default_rng(seed)

    def greedy(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray(lookahead.expected_values(episodes, rows).argmax(axis=1), np.int64)

    def by_call(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        utility = hindsight_utility(peek(episodes, rows), weights.as_array())
        return np.asarray(utility.argmax(axis=1), np.int64)

    def optimum(episodes: Episodes, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        found = [hindsight_optimum(episodes, int(r)) for r in rows]
        is_exact.extend(one.is_exact for one in found)
        return np.array([one.actions[0] for one in found])

    return {
        "random": lambda episodes, rows: rng.integers(len(dataset.pool), size=len(rows)),
        "greedy by expected value": greedy,
        "lookahead": lookahead.actions,
        "hindsight, call by call": by_call,
        "hindsight, exact optimum": optimum,
    }


def start(dataset: Dataset, weights: RewardWeights, seed: int) -> Episodes:
    """Starts one episode per workflow, each with random numbers of its own."""
    episodes = Episodes(
        dataset,
        n=len(dataset.workflows),
        rules=EpisodeRules(),
        weights=weights,
        layout=ObservationLayout.of(dataset, ["action_mask"]),
    )
    episodes.seed_row(0, np.random.default_rng(seed))
    episodes.state.episode[:, KEY] = episodes.state.episode[0, KEY] + np.arange(episodes.n)
    episodes.reset(workflows=np.arange(episodes.n))
    return episodes


def play(episodes: Episodes, choose: Choice) -> tuple[npt.NDArray[np.float64], float]:
    """Plays all rows to their end; returns their returns and the time per decision [s]."""
    total, rows, decisions, taken = np.zeros(episodes.n), np.arange(episodes.n), 0, 0.0
    while len(rows):
        start = time.perf_counter()
        actions = choose(episodes, rows)
        taken, decisions = taken + time.perf_counter() - start, decisions + len(rows)
        episodes.step(np.asarray(actions, np.int64), rows)
        total[rows] += episodes.reward[rows]
        rows = rows[episodes.ended[rows] == ONGOING]
    return total, taken / decisions


def interval(values: npt.NDArray[np.float64]) -> tuple[str, str]:
    """Returns mean and bootstrap interval over workflows, as cells."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(_REPLICATES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.2f}", f"[{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
