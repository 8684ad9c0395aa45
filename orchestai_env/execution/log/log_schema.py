"""JSON Schema of a line of the execution log; run this module to write the file in the package."""

from __future__ import annotations

import functools
import json
import os
import uuid
from pathlib import Path

from orchestai_env.execution.log.record import ExecutionRecord

SCHEMA_FILE = "execution_log.schema.json"
"""Name of the file, in this package and beside every log."""


@functools.cache
def schema_text() -> str:
    """Returns the schema of a line as it is written, as JSON with two spaces of indent."""
    schema = ExecutionRecord.model_json_schema(mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema, indent=2) + "\n"


def write_schema(folder: Path) -> None:
    """Writes the schema into a folder unless it is there, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path, text = folder / SCHEMA_FILE, schema_text()
    if path.is_file() and path.read_bytes() == text.encode():
        return
    beside = path.with_name(f".{SCHEMA_FILE}.{uuid.uuid4().hex}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


if __name__ == "__main__":
    write_schema(Path(__file__).parent)
