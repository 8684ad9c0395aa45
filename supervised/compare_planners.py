"""Command: train planners and compare them with planners that learn nothing, source by source."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from agents.checkpoint import write_whole
from agents.config import ExperimentSettings, load_experiment
from agents.experiment import choose_device
from orchestai_env.cli import run_command
from orchestai_env.datasets.splits import SPLITS, Split, normalised
from orchestai_env.errors import ConfigError, DataError, unknown_name
from orchestai_env.planning.planner import Planner
from orchestai_env.run_folder import check_output_dir
from orchestai_env.workflow import Workflow, read_workflows
from supervised.commands import SUMMARY, seed_count, table_console, write_json
from supervised.learned_planner import LearnedPlanner
from supervised.planner.training import train_planner
from supervised.planner_comparison.given_steps import score_given_steps
from supervised.planner_comparison.report import CURVES, console_tables, plot_curves, write_report
from supervised.planner_comparison.scores import groups_of, score_planners, summarise
from supervised.planner_comparison.seeds import History, Parts, PlannerRecipe, planner_of_seed
from supervised.plans.baselines import ChainPlanner, MostFrequentPlanner, NearestPlanner
from supervised.plans.dataset import WorkflowDataset
from supervised.plans.files import read_plans
from supervised.plans.library import Embedder, PlanLibrary
from supervised.plans.metrics import MATCH_THRESHOLD
from supervised.plans.splits import split_rows
from supervised.texts.encoder import MemoEncoder, TextEncoder

REPORT = "report.md"
LEARNED = "learned"
TRAIN_SAMPLE = 200
"""Training workflows that are planned to show what was memorised."""
TABLE_WIDTH = 170
"""Columns of the printed table in a log."""
_PACKAGES = ("numpy", "scipy", "torch", "transformers")


def read_parts(
    paths: Sequence[Path], linked_only: Sequence[str], max_subtasks: int
) -> dict[Split, WorkflowDataset]:
    """Reads planning data and splits it by instruction, near-duplicates on one side.

    Args:
        paths: see `read_plans`; they are split as one data set.
        linked_only: sources of which workflows without any link are left out, after the split.
        max_subtasks: a workflow with more is refused.
    Raises:
        ConfigError: a source is not in the data.
        DataError: the data are malformed, or no workflow is left for a split.
    """
    whole = read_plans(*paths, max_subtasks=max_subtasks).dataset
    for source in linked_only:
        if source not in whole.sources:
            raise ConfigError(
                f"--linked_only: {unknown_name('source', source, set(whole.sources))}"
            )
    plans = {
        split: [
            plan
            for plan in (whole.plans[row] for row in rows.tolist())
            if plan.workflow.links or plan.source not in linked_only
        ]
        for split, rows in split_rows(whole).items()
    }
    for split in SPLITS:
        if not plans[split]:
            raise DataError(
                f"{', '.join(map(str, paths))}: expected at least one workflow in each split, got "
                f"none in {split}; give more data"
            )
    kept = WorkflowDataset.from_plans(
        [plan for part in plans.values() for plan in part], max_subtasks=max_subtasks
    )
    return {
        split: WorkflowDataset.from_plans(
            part, vocabulary=kept.vocabulary, max_subtasks=max_subtasks
        )
        for split, part in plans.items()
    }


def compare_planners(
    parts: Parts,
    recipe: PlannerRecipe,
    encoder: MemoEncoder,
    output_dir: Path,
    *,
    num_seeds: int,
    given_steps: Sequence[Workflow] = (),
) -> dict[str, Any]:
    """Trains the planner with each seed, scores all planners, writes summary, report and curves.

    Args:
        parts: data of each split; the baselines know the training part alone.
        recipe: how to train; seeds that the folder has already are read from it.
        encoder: of instructions and subtasks.
        output_dir: made if missing; gets planner_SEED.pth and history_SEED.json as well.
        num_seeds: seeds 0, 1, ...
        given_steps: workflows of which links alone are asked, see `score_given_steps`.
    Returns:
        What summary.json holds.
    Raises:
        OrchestAIError: the folder holds planners of other settings or data, or a planner fails.
    """
    check_output_dir(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    found = [planner_of_seed(recipe, parts, seed, output_dir) for seed in range(num_seeds)]
    histories = [history for _, history in found]
    learned = [planner for planner, _ in found]
    planners: dict[str, Sequence[Planner]] = {LEARNED: learned}
    planners |= _baselines(parts["train"], encoder)
    summary: dict[str, Any] = {
        "baseline": NearestPlanner.name,
        "match_threshold": MATCH_THRESHOLD,
        "num_seeds": num_seeds,
        "num_workflows": {split: len(part) for split, part in parts.items()},
        "settings": dict(recipe.settings),
        "versions": {name: version(name) for name in _PACKAGES},
        "test": _scored(planners, parts["test"], encoder),
        "train": _scored(planners, _sample(parts["train"]), encoder),
    }
    if given_steps:
        summary["given_steps"] = score_given_steps(learned, given_steps)
    _write(output_dir, summary, histories)
    return summary


def read_given_steps(paths: Sequence[Path], parts: Parts) -> list[Workflow]:
    """Reads the test workflows of files, with subtasks in the order of the file.

    Args:
        paths: workflow files (JSONL).
        parts: data of the planners; instructions that they were trained on are left out.
    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed, or no workflow is left.
    """
    seen = {
        normalised(workflow.instruction)
        for split in ("train", "validation")
        for workflow in parts[split].workflows
    }
    workflows = []
    for path in paths:
        written = read_workflows(path)
        rows = split_rows(WorkflowDataset.from_workflows(written))["test"]
        workflows += [
            written[row] for row in rows if normalised(written[row].instruction) not in seen
        ]
    if paths and not workflows:
        raise DataError(
            f"{', '.join(map(str, paths))}: expected at least one test workflow that no planner "
            "was trained on, got none; give more data"
        )
    return workflows


def _baselines(train: WorkflowDataset, encoder: Embedder) -> dict[str, Sequence[Planner]]:
    library, types = PlanLibrary.of(train, encoder), train.vocabulary.task_types
    several: list[Planner] = [
        NearestPlanner(library, encoder, types),
        ChainPlanner(library, encoder, types),
        MostFrequentPlanner(library, types),
    ]
    return {planner.name: [planner] for planner in several}


def _sample(train: WorkflowDataset) -> WorkflowDataset:
    """Returns TRAIN_SAMPLE of the training workflows, or all if there are no more."""
    count = min(TRAIN_SAMPLE, len(train))
    return train.take(sorted(np.random.default_rng(0).permutation(len(train))[:count].tolist()))


def _scored(
    planners: Mapping[str, Sequence[Planner]], dataset: WorkflowDataset, encoder: MemoEncoder
) -> dict[str, Any]:
    total = len(dataset) * sum(map(len, planners.values()))
    with Progress() as progress:
        task = progress.add_task(f"planning {len(dataset)} instructions", total=total)
        advance = functools.partial(progress.advance, task)
        scores = {
            name: score_planners(of_seeds, dataset, encoder, advance)
            for name, of_seeds in planners.items()
        }
    return summarise(scores, groups_of(dataset), NearestPlanner.name)


def _write(output_dir: Path, summary: Mapping[str, Any], histories: Sequence[History]) -> None:
    write_json(output_dir / SUMMARY, summary)
    write_whole(output_dir / REPORT, lambda partial: write_report(partial, summary))
    plot_curves(output_dir / CURVES, histories)


def planner_recipe(config: ExperimentSettings, device: str, encoder: MemoEncoder) -> PlannerRecipe:
    """Returns how phase 1 trains and reads planners."""
    phase1 = config.training.phase1_supervised.model_dump(mode="json")
    return PlannerRecipe(
        settings={"planner": config.planner.model_dump(mode="json"), "phase1_supervised": phase1},
        train_fn=functools.partial(_train, config=config, device=device, encoder=encoder),
        load_fn=functools.partial(LearnedPlanner.load, device=device, encoder=encoder),
    )


def _train(
    parts: Parts,
    seed: int,
    path: Path,
    *,
    config: ExperimentSettings,
    device: str,
    encoder: MemoEncoder,
) -> History:
    with Progress() as progress:
        total = config.training.phase1_supervised.num_epochs
        task = progress.add_task(f"training, seed {seed}", total=total)
        return train_planner(
            parts["train"],
            parts["validation"],
            config,
            seed=seed,
            device=device,
            path=path,
            encoder=encoder,
            on_epoch=lambda epoch: progress.update(task, completed=epoch),
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, compares, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m supervised.compare_planners", description=__doc__
    )
    add = parser.add_argument
    add("--config", type=Path, default=Path("configs/default.yaml"), help="settings (YAML)")
    add("--data", type=Path, nargs="+", required=True, help="files of workflows, or folders")
    add("--output_dir", type=Path, required=True, help="folder of planners and results")
    add("--num_seeds", type=seed_count, default=3, help="planners trained, with seeds 0, 1, ...")
    add("--device", choices=("auto", "cpu", "cuda"), help="where to train; see system.device")
    add(
        "--linked_only",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="leave out workflows without links of these sources",
    )
    add(
        "--given_steps",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="workflow files of whose test part links alone are asked, the subtasks given",
    )
    args = parser.parse_args(argv)
    config = load_experiment(args.config)
    torch.set_num_threads(config.system.num_threads)
    device = choose_device(args.device or config.system.device)
    check_output_dir(args.output_dir)
    parts = read_parts(args.data, args.linked_only, config.planner.max_subtasks)
    given_steps = read_given_steps(args.given_steps, parts)
    network = config.planner.network
    encoder = MemoEncoder(
        TextEncoder.load(network.encoder, max_tokens=network.max_tokens).to(device)
    )
    summary = compare_planners(
        parts,
        planner_recipe(config, device, encoder),
        encoder,
        args.output_dir,
        num_seeds=args.num_seeds,
        given_steps=given_steps,
    )
    console = table_console(TABLE_WIDTH)
    for table in console_tables(summary):
        console.print(table)
    written = ", ".join((SUMMARY, REPORT, CURVES))
    console.print(f"written to {args.output_dir}: {written}", soft_wrap=True)


if __name__ == "__main__":
    run_command(main)
