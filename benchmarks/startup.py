"""Measures how long a fresh interpreter takes to import the library and to make its first step.

Run it with `make bench` or `python -m benchmarks.startup`. Every round takes an empty folder for
compiled code: a first process compiles into it (cold), others find it there (warm).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.timing import print_machine, print_table, spread

ROUNDS = 5
DEPENDENCIES = "import numpy, numba, gymnasium, pydantic, yaml"
LIBRARY = "import orchestai_env"
SINGLE = 'env = gymnasium.make("OrchestAI-v0")'
BATCH = """env = gymnasium.make_vec(
    "OrchestAI-v0", 1024, vectorization_mode="vector_entry_point"
)"""
_PROGRAM = """
import time
begun = time.perf_counter()
{imports}
imported = time.perf_counter()
{make}
made = time.perf_counter()
{step}
stepped = time.perf_counter()
import json
print(json.dumps([imported - begun, made - imported, stepped - made]))
"""
_STEP = "env.reset(seed=0); env.step(env.action_space.sample())"


@dataclasses.dataclass(frozen=True)
class Start:
    """Times [s] of one fresh interpreter."""

    process: float
    """From its start to its end."""
    imports: float
    make: float
    first_step: float
    """First reset and first step, with all that has to be compiled or loaded."""


def start(cache: str, imports: str, make: str = "") -> Start:
    """Runs a fresh interpreter that imports, makes an environment, resets and steps it.

    Args:
        cache: folder of compiled code.
        imports: import statements.
        make: a statement that sets `env`; nothing is made or stepped where empty.
    """
    program = _PROGRAM.format(imports=imports, make=make, step=_STEP if make else "")
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return Start(time.perf_counter() - begun, *json.loads(done.stdout))


def measure(rounds: int) -> dict[str, list[Start]]:
    """Returns the starts of every kind, one a round, taken in turn."""
    library = f"import gymnasium\n{LIBRARY}"
    found: dict[str, list[Start]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, imports, make in (
                ("single, cold", library, SINGLE),
                ("single, warm", library, SINGLE),
                ("batch of 1,024, compiled after single", library, BATCH),
                ("batch of 1,024, warm", library, BATCH),
                (DEPENDENCIES, DEPENDENCIES, ""),
                (LIBRARY, LIBRARY, ""),
            ):
                found.setdefault(name, []).append(start(cache, imports, make))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table of imports and one of first steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="fresh interpreters of each")
    args = parser.parse_args(argv)
    print_machine()
    subprocess.run([sys.executable, "-c", LIBRARY], check=True)  # so that all is read once
    found = measure(args.rounds)

    imports = [
        (name, *spread([one.imports for one in found[name]])) for name in (DEPENDENCIES, LIBRARY)
    ]
    pairs = zip(found[LIBRARY], found[DEPENDENCIES], strict=True)
    ratios = [ours.imports / theirs.imports for ours, theirs in pairs]
    print_table(("import [s]", "median", "min", "max"), [*imports, ("ratio", *spread(ratios))])

    firsts = [
        (name, part, *spread([getattr(one, field) for one in starts]))
        for name, starts in found.items()
        if name not in (DEPENDENCIES, LIBRARY)
        for part, field in (
            ("make", "make"),
            ("first reset and step", "first_step"),
            ("whole process", "process"),
        )
    ]
    print_table(("after import [s]", "part", "median", "min", "max"), firsts, texts=2)
    print(f"fresh interpreters, {args.rounds} rounds; cold: nothing compiled before")


if __name__ == "__main__":
    main()
