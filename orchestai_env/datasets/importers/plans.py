"""PlanWriter: workflows written as they come, and the types of their subtasks counted."""

from __future__ import annotations

import collections
import contextlib
import json
from pathlib import Path

from orchestai_env.datasets.recorded_csv import gzip_text
from orchestai_env.errors import DataError
from orchestai_env.workflow import Workflow


class PlanWriter(contextlib.ExitStack):
    """Writes a workflow file (JSONL, gzipped), one workflow a call."""

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        self.task_types: collections.Counter[str] = collections.Counter()
        self._ids: set[str] = set()
        super().__init__()
        self._file = self.enter_context(gzip_text(path))

    def __len__(self) -> int:
        """Returns the number of workflows so far."""
        return len(self._ids)

    def add(self, workflow: Workflow) -> None:
        """Writes a workflow, its subtasks in topological order.

        Raises:
            WorkflowError: it is malformed.
            DataError: its id came before.
        """
        workflow = workflow.topologically_sorted()
        if workflow.id in self._ids:
            raise DataError(f"id {workflow.id!r} comes twice; ids must be unique")
        self._ids.add(workflow.id)
        self.task_types.update(subtask.type for subtask in workflow.subtasks)
        self._file.write(json.dumps(workflow.to_dict(), ensure_ascii=False) + "\n")
