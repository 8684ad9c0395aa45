"""read_plans: workflows to learn from, out of training data, workflow files and execution logs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestai_env.datasets.folder import DESCRIPTION, QUERIES
from orchestai_env.errors import ConfigError, DataError, MissingFileError, OrchestAIError, shown
from orchestai_env.workflow import Workflow, open_text
from supervised.plans.dataset import MAX_SUBTASKS, PlanTarget, PlanVocabulary, WorkflowDataset
from supervised.plans.records import plan_of_example, plan_of_log_entry

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
"""Ends of the names of the files that are read in a folder."""
_NO_PLANS = (".report.json", ".schema.json", "collection.json")  # beside training data and logs

FORMATS = (
    "training data (a JSON list of {instruction, targets, rewards}), workflows (JSONL of "
    "{id, instruction, subtasks, links}) or an execution log (JSONL of {instruction, "
    "planner_outputs, execution_result})"
)
"""What can be read; in JSONL each line is one of these objects."""

_SPACE = re.compile(r"\s*")


def holds_plans(path: Path) -> bool:
    """Tells a folder of plans from the folder of an imported data set, or from none."""
    if not path.is_dir() or any((path / name).exists() for name in (DESCRIPTION, QUERIES)):
        return False
    return any(_may_hold_plans(file) for file in path.iterdir())


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlansRead:
    """What files held."""

    dataset: WorkflowDataset
    left_out: tuple[str, ...]
    """One text for each line left out, "file:line: reason": executions without a plan, and bad
    lines where they are skipped."""


def read_plans(
    *paths: str | Path,
    vocabulary: PlanVocabulary | None = None,
    max_subtasks: int = MAX_SUBTASKS,
    skip_bad: bool = False,
) -> PlansRead:
    """Reads files, or all files of folders, into one data set; rows keep the order of the lines.

    Which of the three formats a file has is told by what is in it. The source of a workflow is its
    key `source`, else the name of its file up to the first dot.

    Args:
        paths: files (.json, .jsonl, either with .gz) or folders of them, read by name.
        vocabulary: words that may occur; None takes those that do.
        max_subtasks: a workflow with more is refused.
        skip_bad: leave bad lines out and list them, instead of refusing the file.
    Raises:
        MissingFileError: a path is not there.
        DataError: a line is bad; the message has file, line and reason. Or a file is damaged, a
            folder has no file to read, or nothing is left.
    """
    plans, left_out = [], []
    for file in [file for path in paths for file in _files(Path(path))]:
        for number, text in _objects(file):
            try:
                plan = _read_plan(text, name=f"{file.name}:{number}", source=_stem(file))
                if plan is None:
                    left_out.append(f"{file}:{number}: its instruction could not be planned")
                else:
                    plans.append(plan.checked(vocabulary, max_subtasks))
            except OrchestAIError as error:
                line = f"{file}:{number}: {error}"
                if not skip_bad:
                    raise DataError(line) from None
                left_out.append(line)
    if not plans:
        rest = f" ({len(left_out)} were left out; the first: {left_out[0]})" if left_out else ""
        raise DataError(
            f"{', '.join(map(str, paths)) or 'no path'}: expected at least one workflow, got "
            f"none{rest}; give {FORMATS}"
        )
    dataset = WorkflowDataset.from_plans(plans, vocabulary=vocabulary, max_subtasks=max_subtasks)
    return PlansRead(dataset=dataset, left_out=tuple(left_out))


def _files(path: Path) -> list[Path]:
    if path.suffix == ".parquet":
        raise ConfigError(
            f"{path}: expected one of {', '.join(SUFFIXES)}, got Parquet, which is for other "
            "programs; name a .json as --output of `orchestai prepare`"
        )
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if _may_hold_plans(file))
    if not found:
        raise MissingFileError(
            f"{path}: expected files named {', '.join(SUFFIXES)} in this folder, got none; "
            f"put there {FORMATS}"
        )
    return found


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _objects(file: Path) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, JSON text) of each object of a JSON list or of JSONL."""
    with open_text(file) as stream, _whole(file):
        head = stream.read(1)
        while head.isspace():
            head = stream.read(1)
        stream.seek(0)
        if head == "[":
            yield from _list_items(file, stream.read())
        else:
            yield from enumerate(stream, 1)


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{file}: the file breaks off or is damaged ({error}); fetch it again"
        ) from None


def _list_items(file: Path, text: str) -> Iterator[tuple[int, str]]:
    """Yields (line number, JSON text) of each item.

    Raises:
        DataError: the list breaks; where the next item begins cannot be told.
    """
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    start = _after_space(text, text.index("[") + 1)
    closed = text.startswith("]", start)
    while not closed:
        line, counted = line + text.count("\n", counted, start), start
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise _broken_list(file, line, str(error)) from None
        yield line, text[start:end]
        start = _after_space(text, end)
        closed = text.startswith("]", start)
        if not closed:
            if not text.startswith(",", start):
                raise _broken_list(file, line, "no comma nor closing bracket after this item")
            start = _after_space(text, start + 1)
    if _after_space(text, start + 1) < len(text):
        raise _broken_list(file, line, "more text after its closing bracket")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it may be empty
    return match.end()


def _broken_list(file: Path, line: int, reason: str) -> DataError:
    return DataError(
        f"{file}:{line}: expected a JSON list, got one that breaks ({reason}); repair the file"
    )


def _read_plan(text: str, *, name: str, source: str) -> PlanTarget | None:
    """Reads an object; None for an execution that was logged without a plan."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"expected one JSON object a line, or a JSON list of them, got text that ends or "
            f"breaks ({error}); repair or remove the line"
        ) from None
    if isinstance(data, Mapping):
        if "targets" in data:
            return plan_of_example(data, name=name, source=source)
        if "planner_outputs" in data:
            plan = plan_of_log_entry(data, name=name, source=source)
            return plan if plan.workflow.subtasks else None
        if "subtasks" in data:
            workflow = Workflow.from_dict(data)
            own = data.get("source")
            return PlanTarget(
                workflow=workflow,
                workers=(None,) * len(workflow.subtasks),
                source=own if isinstance(own, str) else source,
            )
    raise DataError(f"expected {FORMATS}, got {shown(data)}")


def _may_hold_plans(file: Path) -> bool:
    return file.name.endswith(SUFFIXES) and not file.name.endswith(_NO_PLANS)
