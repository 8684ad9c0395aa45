"""Workflow: an instruction split into subtasks with dependencies (a DAG), and its file format."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from orchestai_env.errors import (
    CyclicWorkflowError,
    DataError,
    MissingFileError,
    WorkflowError,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Subtask:
    """One step of a workflow, served by one worker call at a time."""

    name: str
    """What is to be done, as text."""
    type: str
    """Task type, a word of the data set's vocabulary."""
    query_id: str | None = None
    """Recorded query that this subtask replays; None where outcomes are simulated."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Workflow:
    """An instruction, its subtasks and the links between them.

    A link (i, j) says that subtask j needs the result of subtask i. Construction checks nothing, so
    that `is_valid_dag` can be asked; `validate` and everything that runs a workflow raise.
    """

    id: str
    instruction: str
    subtasks: tuple[Subtask, ...]
    links: tuple[tuple[int, int], ...]

    def validate(self) -> Self:
        """Returns the workflow itself if it is well formed.

        Raises:
            WorkflowError: there is no subtask, or a link leaves the range of subtasks.
            CyclicWorkflowError: the links form a cycle (a self-loop is one).
        """
        if not self.subtasks:
            raise WorkflowError(f"workflow {self.id!r}: expected at least one subtask, got none")
        for link in self.links:
            if not all(0 <= end < len(self.subtasks) for end in link):
                raise WorkflowError(
                    f"workflow {self.id!r}: link {list(link)} leaves the subtasks "
                    f"0..{len(self.subtasks) - 1}; links are [from, to] indexes into subtasks"
                )
        topological_order(len(self.subtasks), self.links, name=self.id)
        return self

    def topologically_sorted(self) -> Workflow:
        """Returns the same workflow with subtasks in topological order (stable: lowest first).

        Raises:
            WorkflowError: see `validate`.
        """
        self.validate()
        order = topological_order(len(self.subtasks), self.links, name=self.id)
        rank = {old: new for new, old in enumerate(order)}
        links = sorted({(rank[i], rank[j]) for i, j in self.links})
        return dataclasses.replace(
            self, subtasks=tuple(self.subtasks[i] for i in order), links=tuple(links)
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form: {id, instruction, subtasks [{name, type, ...}], links}."""
        subtasks = [
            {k: v for k, v in dataclasses.asdict(s).items() if v is not None} for s in self.subtasks
        ]
        return {
            "id": self.id,
            "instruction": self.instruction,
            "subtasks": subtasks,
            "links": [list(link) for link in self.links],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Workflow:
        """Builds and validates a workflow from its JSON form; unknown keys are left out.

        Raises:
            WorkflowError: a key is missing or of the wrong kind, or `validate` refuses it.
        """
        try:
            subtasks = tuple(
                Subtask(
                    name=_text(item, "name"),
                    type=_text(item, "type"),
                    query_id=_text(item, "query_id") if "query_id" in item else None,
                )
                for item in data["subtasks"]
            )
            links = tuple((_index(i), _index(j)) for i, j in data["links"])
            workflow = cls(
                id=_text(data, "id"),
                instruction=_text(data, "instruction"),
                subtasks=subtasks,
                links=links,
            )
        except KeyError as error:
            raise WorkflowError(f"key {error.args[0]!r} is missing from the workflow") from None
        except (TypeError, ValueError) as error:
            if isinstance(error, WorkflowError):
                raise
            raise WorkflowError(
                "expected {id, instruction, subtasks [{name, type}], links [[from, to]]}, "
                f"got something else: {error}"
            ) from None
        return workflow.validate()


def _text(item: Any, key: str) -> str:
    value = item[key]
    if not isinstance(value, str):
        raise WorkflowError(f"key {key!r}: expected text, got {value!r}")
    return value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WorkflowError(f"links: expected subtask indexes, got {value!r}")
    return value


def topological_order(
    num_subtasks: int, links: Iterable[tuple[int, int]], *, name: str = ""
) -> list[int]:
    """Orders subtasks so that every link points forward; the lowest free index goes first.

    Raises:
        CyclicWorkflowError: the links form a cycle; the message lists the subtasks on it.
    """
    children: list[list[int]] = [[] for _ in range(num_subtasks)]
    missing = [0] * num_subtasks
    for i, j in set(links):
        children[i].append(j)
        missing[j] += 1
    free = [i for i in range(num_subtasks) if not missing[i]]
    order: list[int] = []
    while free:
        i = min(free)
        free.remove(i)
        order.append(i)
        for j in children[i]:
            missing[j] -= 1
            if not missing[j]:
                free.append(j)
    if len(order) < num_subtasks:
        stuck = sorted(set(range(num_subtasks)) - set(order))
        raise CyclicWorkflowError(
            f"workflow {name!r}: the links form a cycle through or before subtasks {stuck}; "
            "remove a link so that every subtask can start"
        )
    return order


def is_valid_dag(workflow: Workflow) -> bool:
    """Tells whether a workflow has subtasks, links within range, and no cycle."""
    try:
        workflow.validate()
    except WorkflowError:
        return False
    return True


def open_text(path: Path, mode: str = "rt") -> Any:
    """Opens a text file, gzipped if its name ends with .gz, as UTF-8.

    Raises:
        MissingFileError: there is no such file.
    """
    if "r" in mode and not path.is_file():
        raise MissingFileError(f"{path}: no such file; check the path")
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, mode, encoding="utf-8", newline="")


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields (line number from 1, object) for each line of a JSONL(.gz) file.

    Raises:
        MissingFileError: there is no such file.
        DataError: a line is no JSON, or the file breaks off (a truncated gzip).
    """
    number = 0
    with open_text(path) as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: expected one JSON object a line, got a line that ends or breaks "
                f"at column {error.colno} ({error.msg}); repair or remove the line"
            ) from None
        except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}:{number + 1}: the file breaks off or is damaged ({error}); fetch it again"
            ) from None
        except (
            ValueError,
            RecursionError,
        ) as error:  # thousands of digits, deep nesting
            raise DataError(
                f"{path}:{number}: expected one JSON object a line, but {error}; repair or remove "
                "the line"
            ) from None


def read_workflows(path: str | Path) -> list[Workflow]:
    """Reads and validates a workflow file (JSONL, one workflow a line).

    Raises:
        MissingFileError: there is no such file.
        DataError: a line is malformed; the message has file, line and reason.
    """
    path = Path(path)
    workflows = []
    for number, data in read_json_lines(path):
        try:
            workflows.append(Workflow.from_dict(data))
        except WorkflowError as error:
            raise DataError(f"{path}:{number}: {error}") from None
    return workflows


def write_workflows(path: str | Path, workflows: Sequence[Workflow]) -> None:
    """Writes a workflow file (JSONL); the old file stays until the new one is whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial{path.suffix}")
    with open_text(partial, "wt") as file:
        for workflow in workflows:
            file.write(json.dumps(workflow.to_dict(), ensure_ascii=False) + "\n")
    partial.replace(path)
