"""Redaction keeps texts out of the log, and says at once where it cannot."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.errors import ConfigError
from orchestai_env.execution.log import redaction
from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.record import ExecutionRecord
from orchestai_env.execution.log.redaction import (
    TAKEN_OUT,
    Mask,
    Redaction,
    RedactionSettings,
    load_redaction,
)
from orchestai_env.settings import load_yaml
from tests.orchestai_env.execution.log_records import record, records

KEY, VARIABLE = "0123456789abcdef", "ORCHESTAI_REDACTION_KEY"
ROOT = Path(__file__).resolve().parents[4]
# Marks that no other part of a record has, so that what is found is the text itself.
SECRETS = st.text(max_size=10).map(lambda text: f"Ω{text}Ω")


def written(one: ExecutionRecord, settings: RedactionSettings) -> tuple[str, ExecutionRecord]:
    """Returns the log of one record as text, escapes resolved, and what is read from it."""
    with tempfile.TemporaryDirectory() as folder:
        with ExecutionLogger(folder, fsync="never", redaction=Redaction(settings)) as logger:
            logger.append(one)
        (path,) = Path(folder).glob("*.jsonl")
        line = path.read_text(encoding="utf-8")
        return json.dumps(json.loads(line), ensure_ascii=False), next(read_log(folder))


def texts_of(one: ExecutionRecord) -> dict[str, list[str]]:
    """Returns the texts of a record by the setting that is about them."""
    result = one.execution_result
    return {
        "instruction": [one.instruction],
        "subtasks": [subtask.name for subtask in result.subtasks],
        "outputs": list(result.outputs.values()),
    }


def all_texts(one: ExecutionRecord) -> list[str]:
    """Returns the texts of a record."""
    return list(itertools.chain(*texts_of(one).values()))


@given(records(SECRETS))
def test_dropped_texts_are_nowhere_in_the_file(one: ExecutionRecord) -> None:
    settings = RedactionSettings(instruction="drop", subtasks="drop", outputs="drop")
    text, found = written(one, settings)
    for secret in all_texts(one):
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text
    assert found.execution_result.outputs == {}


@given(records(SECRETS), st.text(max_size=5))
def test_a_dropped_instruction_is_not_quoted_elsewhere(one: ExecutionRecord, more: str) -> None:
    secret = one.instruction
    result = one.execution_result
    quoting = f"{secret[:1]}{secret}{secret[1:]}{more}{secret}"
    subtask = result.subtasks[0].model_copy(update={"name": quoting})
    changed = result.model_copy(
        update={"subtasks": (subtask, *result.subtasks[1:]), "outputs": {0: quoting}}
    )
    one = one.model_copy(update={"execution_result": changed})
    text, _ = written(one, RedactionSettings(instruction="drop"))
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text


@given(records(st.from_regex(r"[a-z ]*(\d{3}-\d{4}|x@y\.z)[a-z ]*", fullmatch=True)))
def test_masks_are_applied_to_every_text(one: ExecutionRecord) -> None:
    masks = (
        Mask(pattern=r"\b(\d)\d\d-\d{4}", replacement=r"\g<1>##"),
        Mask(pattern=r"\S+@\S+", replacement="[mail]"),
        Mask(pattern=r"\d\d\d-\d{4}", replacement="[number]"),
    )
    _, found = written(one, RedactionSettings(masks=masks))
    for text in all_texts(found):
        assert not re.search(r"@|\d\d\d-\d{4}", text)
    assert [len(texts) for texts in texts_of(found).values()] == [
        len(texts) for texts in texts_of(one).values()
    ]


@given(one=records(SECRETS | st.sampled_from(["same", "other"])))
def test_hashes_keep_equal_texts_equal_and_others_apart(one: ExecutionRecord) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(VARIABLE, KEY)
        settings = RedactionSettings(instruction="hash", subtasks="hash", outputs="hash")
        text, found = written(one, settings)
    before, after = (all_texts(each) for each in (one, found))
    pairs = set(zip(before, after, strict=True))
    assert len(pairs) == len(set(before)) == len(set(after))
    assert all(re.fullmatch("hmac:[0-9a-f]{32}", shown) for shown in after)
    assert "Ω" not in text.replace(json.dumps(one.planner), "").replace(json.dumps(one.agent), "")


def test_hashes_are_the_same_in_every_process_and_unknown_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = RedactionSettings(instruction="hash")
    program = (
        "from orchestai_env.execution.log.redaction import Redaction, RedactionSettings\n"
        "from tests.orchestai_env.execution.log_records import record\n"
        "print(Redaction(RedactionSettings(instruction='hash'))(record()).instruction)"
    )
    monkeypatch.setenv(VARIABLE, KEY)
    here = Redaction(settings)(record()).instruction
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here
    monkeypatch.setenv(VARIABLE, KEY[::-1])
    assert Redaction(settings)(record()).instruction != here


def test_a_hashed_instruction_stands_hashed_where_it_is_quoted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    one = record(instruction="Find it")  # the name of its first subtask
    found = Redaction(RedactionSettings(instruction="hash"))(one)
    names = [subtask.name for subtask in found.execution_result.subtasks]
    assert names == [found.instruction, "Do it"]


def test_kept_texts_stay_as_they_are() -> None:
    assert Redaction(RedactionSettings())(record()) == record()


def test_what_is_dropped_leaves_the_rest(tmp_path: Path) -> None:
    redaction = Redaction(RedactionSettings(outputs="drop"))
    with ExecutionLogger(tmp_path, redaction=redaction) as logger:
        logger.append(record())
    found = next(read_log(tmp_path))
    assert texts_of(found) == {**texts_of(record()), "outputs": []}
    assert found.planner_outputs == record().planner_outputs


def test_settings_are_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text(
        "instruction: drop\nmasks:\n  - {pattern: '\\d+', replacement: '#'}\n  - {pattern: x}\n"
    )
    settings = load_yaml(path, RedactionSettings)
    assert settings.instruction == "drop"
    assert [mask.replacement for mask in settings.masks] == ["#", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instruction: hide", "instruction: .*'keep', 'drop' or 'hash'; got 'hide'"),
        ("masks: [{pattern: '('}]", "masks.0: expected a regular expression .* unterminated"),
        (r"masks: [{pattern: a, replacement: '\1'}]", "masks.0: .*invalid group reference 1"),
        (r"masks: [{pattern: a, replacement: '\g<x>'}]", "masks.0: .*unknown group name"),
        ("texts: drop", "texts: unknown key 'texts'"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, refused: Callable[..., str], text: str, message: str
) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text(text)
    assert re.search(message, refused(lambda _: load_yaml(path, RedactionSettings)))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (RedactionSettings(masks=(Mask(pattern="(a|aa)+$"),)), "secret" + "a" * 100 + "b"),
        (RedactionSettings(instruction="drop"), "secret" + "Find" * 1000 + " it" * 1000),
    ],
)
def test_a_text_that_takes_too_long_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, settings: RedactionSettings, text: str
) -> None:
    monkeypatch.setattr(redaction, "SEARCH_LIMIT_S", 0.125)
    one = record(instruction="Find it")
    result = one.execution_result.model_copy(update={"outputs": {0: text, 1: "plain"}})
    found = Redaction(settings)(one.model_copy(update={"execution_result": result}))
    assert found.execution_result.outputs == {0: TAKEN_OUT, 1: "plain"}


def test_load_redaction_reads_the_key_beside_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    path = tmp_path / "redaction.yaml"
    path.write_text("instruction: hash")
    with pytest.raises(ConfigError, match=VARIABLE):
        load_redaction(path)
    (tmp_path / ".env").write_text(f"{VARIABLE}={KEY}\n")
    assert load_redaction(path)(record()).instruction.startswith("hmac:")


def test_a_hash_needs_its_key(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    settings = RedactionSettings(outputs="hash")
    assert VARIABLE in refused(lambda _: Redaction(settings))
    monkeypatch.setenv(VARIABLE, "guessable")
    with pytest.raises(ConfigError, match="a key of at least 16 characters, got 9; make one") as e:
        Redaction(settings)
    assert "guessable" not in str(e.value)
