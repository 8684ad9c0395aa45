"""Command: embed every text of the built-in data set and write the file that the package ships."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import orchestai_env.datasets
from agents.checkpoint import write_whole
from orchestai_env.cli import run_command
from orchestai_env.datasets.builtin import (
    NUM_WORKFLOWS,
    SYNTHETIC_AUGMENTATIONS,
    builtin_pool,
    builtin_workflows,
)
from orchestai_env.datasets.builtin_embeddings import FILE, embedding_arrays, step_text
from orchestai_env.datasets.splits import SPLITS
from supervised.texts.embeddings import embed_texts

SHIPPED = Path(orchestai_env.datasets.__path__[0]) / FILE


def builtin_texts() -> tuple[list[str], list[str]]:
    """Returns the different steps and instructions of the default splits, sorted."""
    _, task_types = builtin_pool()
    workflows = [
        workflow
        for split in SPLITS
        for workflow in builtin_workflows(
            NUM_WORKFLOWS[split],
            0,
            task_types,
            split=split,
            synthetic_augmentations=SYNTHETIC_AUGMENTATIONS if split == "train" else 0,
        )
    ]
    steps = {step_text(subtask) for workflow in workflows for subtask in workflow.subtasks}
    return sorted(steps), sorted({workflow.instruction for workflow in workflows})


def write_embeddings(path: Path, steps: Sequence[str], instructions: Sequence[str]) -> None:
    """Embeds texts and writes them as `builtin_embeddings` reads them.

    One thread, one batch order and no time in the file: on one machine the same texts give the same
    bytes.

    Args:
        path: the npz.
        steps: different subtask texts, without the client.
        instructions: different instructions.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        embeddings = embed_texts([*steps, *instructions])
    finally:
        torch.set_num_threads(threads)
    arrays: dict[str, Any] = {
        **embedding_arrays("subtask", steps, embeddings[: len(steps)]),
        **embedding_arrays("instruction", instructions, embeddings[len(steps) :]),
    }
    write_whole(path, lambda partial: np.savez_compressed(partial, **arrays))


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and writes the file."""
    parser = argparse.ArgumentParser(prog="python -m supervised.embed_builtin", description=__doc__)
    parser.add_argument("--output", type=Path, default=SHIPPED, help="file to write")
    args = parser.parse_args(argv)
    steps, instructions = builtin_texts()
    write_embeddings(args.output, steps, instructions)
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {len(steps)} steps, {len(instructions)} instructions, {size:.2f} MB")


if __name__ == "__main__":
    run_command(main)
