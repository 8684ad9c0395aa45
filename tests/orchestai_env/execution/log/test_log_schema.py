"""The schema file says what a line holds."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from orchestai_env.execution.log import log_schema
from orchestai_env.execution.log.log_schema import SCHEMA_FILE, schema_text, write_schema
from orchestai_env.execution.log.record import SCHEMA_VERSION, ExecutionRecord
from tests.orchestai_env.execution.log_records import line_of_version_1, record, records

SCHEMA = json.loads(schema_text())


def test_the_schema_file_of_the_package_is_up_to_date() -> None:
    """If it is not: python -m orchestai_env.execution.log.log_schema."""
    path = Path(log_schema.__file__).with_name(SCHEMA_FILE)
    assert path.read_text(encoding="utf-8") == schema_text()


def test_the_schema_is_of_the_version_of_the_records() -> None:
    versions = SCHEMA["properties"]["schema_version"]
    assert (versions["default"], versions["enum"]) == (SCHEMA_VERSION, [1, SCHEMA_VERSION])
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(records())
def test_every_line_obeys_the_schema(one: ExecutionRecord) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(one.model_dump_json()))


def test_a_line_of_version_1_obeys_it_too() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(line_of_version_1()))


@pytest.mark.parametrize(
    "key",
    sorted(name for name, field in ExecutionRecord.model_fields.items() if field.is_required()),
)
def test_a_line_without_one_of_its_keys_does_not(key: str) -> None:
    line = json.loads(record().model_dump_json())
    del line[key]
    with pytest.raises(jsonschema.ValidationError, match="required property"):
        jsonschema.Draft202012Validator(SCHEMA).validate(line)


def test_write_schema_leaves_an_equal_file_alone_and_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / SCHEMA_FILE
    write_schema(tmp_path)
    before = path.stat()
    write_schema(tmp_path)
    assert path.stat().st_ino == before.st_ino
    path.write_text("{}", encoding="utf-8")
    write_schema(tmp_path)
    assert path.read_text(encoding="utf-8") == schema_text()
    assert list(tmp_path.iterdir()) == [path]
