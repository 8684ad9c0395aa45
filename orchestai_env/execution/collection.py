"""Collection: many executions into one log, each of them once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestai_env.errors import ConfigError, MissingFileError
from orchestai_env.execution.budget import Ledger
from orchestai_env.execution.log_reading import read_log
from orchestai_env.execution.orchestrator import Orchestrator
from orchestai_env.execution.record import ExecutionRecord

SETTINGS = "collection.json"
"""File beside the log that says what it was collected with."""


def claim_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes what a folder is collected with, or checks that it is the same as before.

    Args:
        folder: of the log.
        settings: as JSON holds them; those that decide what an execution is.
    Raises:
        ConfigError: the folder was collected with other settings.
    """
    path, text = folder / SETTINGS, json.dumps(dict(settings), indent=1, sort_keys=True) + "\n"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(key for key in {*old, *settings} if old.get(key) != settings.get(key))
    if changed:
        raise ConfigError(
            f"{folder}: was collected with another {', '.join(changed)} (see {SETTINGS}); "
            "give the same, or another --output_dir"
        )


def execution_id(seed: int, index: int) -> str:
    """Returns the id of an execution: the same number, the same execution."""
    return f"{seed}-{index:08d}"


def logged_before(folder: Path, ledger: Ledger) -> dict[str, bool]:
    """Reads what earlier runs have logged, and charges it.

    Args:
        folder: of the log.
        ledger: charged with what they cost.
    Returns:
        The id of each execution, and whether it was a success.
    """
    found = {}
    with contextlib.suppress(MissingFileError):  # nothing was logged yet
        for record in read_log(folder, skip_bad=True):  # a killed process leaves a torn line
            found[record.execution_id] = record.success
            for decision in record.decisions:
                ledger.charge(decision.called or decision.worker, decision.cost)
    return found


async def collect(
    orchestrator: Orchestrator,
    executions: Sequence[tuple[str, str]],
    *,
    num_parallel: int,
    may_go_on: Callable[[], bool],
    on_record: Callable[[ExecutionRecord], None],
) -> None:
    """Executes instructions side by side; each is logged when it has ended.

    Args:
        orchestrator: has the log.
        executions: (id, instruction) of those that are to be done.
        num_parallel: workflows at once, >= 1.
        may_go_on: asked before each; False ends the collection once those that run have ended.
        on_record: called after each.
    Raises:
        OrchestAIError: an instruction cannot be planned or the log not be written; what runs is
            cancelled.
    """
    waiting = iter(executions)

    async def work() -> None:
        for name, instruction in waiting:
            if not may_go_on():
                return
            record, _ = await orchestrator.execute_async(instruction, execution_id=name)
            on_record(record)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(num_parallel):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
