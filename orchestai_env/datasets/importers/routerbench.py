"""RouterBench tables: a row a query, with a score, a cost and an answer per worker.

Columns of withmartian/routerbench, from `convertors/`: sample_id, prompt, eval_name, then for each
model `M` its score 0..1 as `M`, `M|total_cost` [USD] and `M|model_response`, and
oracle_model_to_route_to. Tables made in its manner say `M|cost`, too. Neither tokens nor latency
are recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from orchestai_env.datasets.importers.conversion import (
    Converted,
    ConvertSettings,
    Workspace,
    import_tables,
)
from orchestai_env.datasets.importers.fields import number, text
from orchestai_env.datasets.importers.reading import check_input, read_table
from orchestai_env.datasets.importers.tables import Call, Query, TableWriter
from orchestai_env.errors import DataError

COSTS, RESPONSE = ("|total_cost", "|cost"), "|model_response"
KEYS = ("sample_id", "prompt", "eval_name")


@dataclasses.dataclass(kw_only=True)
class _Columns:
    """What the header of a table says; filled when it is read."""

    workers: dict[str, str | None] = dataclasses.field(default_factory=dict)
    """Name -> column of costs."""
    without_cost: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def choose(self, header: Sequence[str]) -> Sequence[str]:
        """Returns the columns to read.

        Raises:
            DataError: one is missing, or there is no worker.
        """
        ends = (*COSTS, RESPONSE)
        named = {n.removesuffix(end): None for n in header for end in ends if n.endswith(end)}
        missing = [name for name in (*KEYS, *named) if name not in header]
        if missing:
            raise DataError(f"column {missing[0]!r} is missing; got {', '.join(header)}")
        if not named:
            raise DataError(
                f"expected a column WORKER{COSTS[0]} or WORKER{RESPONSE} beside each score column "
                f"WORKER, got {', '.join(header)}"
            )
        self.workers = {
            name: next((name + end for end in COSTS if name + end in header), None)
            for name in named
        }
        costs = [cost for cost in self.workers.values() if cost is not None]
        self.without_cost = tuple(name for name, cost in self.workers.items() if cost is None)
        read = {*KEYS, *named, *costs}
        self.passed_over = tuple(
            name or "the one without a name"  # row numbers, as pandas writes them
            for name in header
            if name not in read and not name.endswith(RESPONSE)
        )
        return [*KEYS, *named, *costs]

    def parse(self, fields: Mapping[str, Any]) -> tuple[Query, list[Call]]:
        """Returns the query and the calls of a row.

        Raises:
            DataError: a field is missing, mistyped or out of range, or there is no score.
        """
        query = Query(
            query_id=text(fields, "sample_id"),
            task_type=text(fields, "eval_name"),
            prompt=text(fields, "prompt"),
        )
        calls = []
        for worker, cost in self.workers.items():
            score = number(fields, worker, most=1.0)
            cost_usd = None if cost is None else number(fields, cost)
            if score is not None:
                calls.append(Call(worker=worker, score=score, cost_usd=cost_usd))
        if not calls:
            names = ", ".join(self.workers)
            raise DataError(f"expected a score of at least one of {names}, got none")
        return query, calls


def import_routerbench(
    settings: ConvertSettings, workspace: Workspace, converted: Converted
) -> None:
    """Reads tables of this form, CSV (gzipped or not) or Parquet.

    A score that is not there is a call that was not made.
    """
    for path in settings.inputs:
        check_input(path)
        converted.inputs.append(path)
    with TableWriter(workspace.tables) as tables:
        for path in settings.inputs:
            columns = _Columns()
            records = read_table(path, columns.choose, workspace.left_out, workspace.tell)
            import_tables(records, columns.parse, tables, workspace.left_out)
            if columns.without_cost:
                names = ", ".join(columns.without_cost)
                converted.notes.append(f"{path.name}: no cost column for {names}: left empty")
            if columns.passed_over:
                names = ", ".join(columns.passed_over)
                converted.notes.append(f"{path.name}: columns passed over: {names}")
        converted.take(tables)
    converted.notes.append("tokens and latency are not part of this format: left empty")
