"""PrepareReport: what `orchestai prepare` read and wrote, and what it left out and why."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

from orchestai_env.execution.extra import needs_extra

SUFFIX = ".report.json"
"""End of the name of a report; it lies beside the training data."""

_SHOWN_LINES = 5


@dataclasses.dataclass(kw_only=True)
class PrepareReport:
    """Counts of one preparation; they grow while it runs."""

    executions: int = 0
    """Lines of the log that held an execution, or were to."""
    examples: int = 0
    """Written to the training data."""
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Executions that are not in the training data, by reason."""
    bad_lines: list[str] = dataclasses.field(default_factory=list)
    """"file:line: reason" of the first 1,000 bad lines."""
    splits: collections.Counter[str] | None = None
    """Examples of each split; None where none was asked for."""
    queries: int | None = None
    """Queries of the outcome tables; None where they were not asked for, as the next two."""
    calls: int | None = None
    """Calls of the outcome tables."""
    calls_left_out: dict[str, int] | None = None
    """Calls that are not in them, by reason."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, without what was not asked for."""
        return {k: v for k, v in vars(self).items() if v is not None}

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def report_path(output: Path) -> Path:
    """Returns where the report of a file of training data lies."""
    return output.with_name(output.stem + SUFFIX)


def print_report(report: PrepareReport, path: Path) -> None:
    """Prints a table of counts, the first bad lines, and where the report lies.

    Args:
        report: the counts.
        path: its file.
    Raises:
        MissingPackageError: rich is not installed.
    """
    with needs_extra("data", what="tables"):
        from rich.console import Console
        from rich.table import Table
    table = Table("executions", "count")
    table.columns[1].justify = "right"
    table.add_row("read", f"{report.executions:,}")
    for reason, count in report.left_out.most_common():
        table.add_row(f"  left out: {reason}", f"{count:,}")
    table.add_row("examples", f"{report.examples:,}")
    for split, count in (report.splits or {}).items():
        table.add_row(f"  {split}", f"{count:,}")
    if report.calls is not None:
        table.add_section()
        for reason, count in sorted((report.calls_left_out or {}).items()):
            table.add_row(f"calls left out: {reason}", f"{count:,}")
        table.add_row("calls in the outcome tables", f"{report.calls:,}")
        table.add_row("their queries", f"{report.queries:,}")
    console = Console(soft_wrap=True)
    console.print(table)
    for line in report.bad_lines[:_SHOWN_LINES]:
        console.print(f"left out: {line}", markup=False, highlight=False)
    more = report.left_out["bad line"] - _SHOWN_LINES
    words = f" ({more:,} more bad lines; it lists 1,000 at most)" if more > 0 else ""
    console.print(f"report: {path}{words}", markup=False, highlight=False)
