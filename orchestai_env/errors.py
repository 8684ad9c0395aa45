"""Every error this package raises on purpose.

    OrchestAIError
    ├── ConfigError (ValueError)             a setting is unknown, mistyped or out of range
    ├── WorkflowError (ValueError)           a workflow is malformed
    │   └── CyclicWorkflowError              its links form a cycle
    ├── UnknownWorkerError (KeyError)        a worker name that the pool does not have
    ├── DataError (ValueError)               a line or table of a data file is malformed
    │   └── SplitLeakError                   one query is in two splits
    ├── MissingFileError (FileNotFoundError) a file or folder is not there
    ├── PlanningError (RuntimeError)         a planner cannot plan, or its plan is no good
    ├── MaskedActionError (ValueError)       a forbidden worker under on_masked_action="error"
    ├── CheckpointError (ValueError)         a checkpoint is broken or of another shape
    ├── WorkerCallError (RuntimeError)       a real call gave no answer; execution/workers/worker.py
    ├── BudgetError (RuntimeError)           the budget of all is spent; execution/calls/budget.py
    ├── LedgerError (ValueError)             no amount, or settled twice; execution/calls/budget.py
    ├── ExecutionLogError (OSError)          the log cannot be written; execution/log/log_writing.py
    └── MissingPackageError (gymnasium's DependencyNotInstalled)  an optional package is not there

Callers catch the base class; a message says what was expected, what came, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from gymnasium.error import DependencyNotInstalled


class OrchestAIError(Exception):
    """Base of every error of this package; its text is one line for the user."""

    def __str__(self) -> str:
        """Returns the message as it was given (KeyError would print its repr)."""
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigError(OrchestAIError, ValueError):
    """A setting is unknown, mistyped or out of range."""


class WorkflowError(OrchestAIError, ValueError):
    """A workflow is malformed."""


class CyclicWorkflowError(WorkflowError):
    """The links of a workflow form a cycle."""


class UnknownWorkerError(OrchestAIError, KeyError):
    """A worker name that the pool does not have."""


class DataError(OrchestAIError, ValueError):
    """A line or table of a data file is malformed."""


class SplitLeakError(DataError):
    """One query is in two splits of a data set."""


class MissingFileError(OrchestAIError, FileNotFoundError):
    """A file or folder is not there."""


class PlanningError(OrchestAIError, RuntimeError):
    """A planner cannot plan an instruction, or its plan breaks what plans promise."""


class MaskedActionError(OrchestAIError, ValueError):
    """An action chose a worker that the mask forbids."""


class CheckpointError(OrchestAIError, ValueError):
    """A checkpoint is broken, or belongs to another pool, task vocabulary or observation."""


class MissingPackageError(OrchestAIError, DependencyNotInstalled):
    """An optional package is not installed; the message has the command that installs it."""


def unknown_name(what: str, name: object, known: Iterable[str]) -> str:
    """Returns one line that names an unknown name, its nearest neighbour and the known ones."""
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {shown(name)}.{hint} Known: {', '.join(names)}"


def shown(value: object) -> str:
    """Returns what came, as one line of at most 80 characters."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 80 else line[:77] + "..."
