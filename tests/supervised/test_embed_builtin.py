"""The script of the shipped embeddings: it makes that very file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestai_env.datasets.builtin import builtin_dataset, builtin_pool, builtin_workflows
from orchestai_env.datasets.builtin_embeddings import step_text, text_keys
from supervised import embed_builtin
from supervised.embed_builtin import builtin_texts, write_embeddings

STEPS = ("plan the roll-back step by step", "draft a press release", "extract the rent")
INSTRUCTIONS = ("Please do this for Alder Bank today.", "Delta Foods needs help by noon.")


def test_shipped_rows_are_what_the_script_writes(tmp_path: Path) -> None:
    dataset = builtin_dataset("test", num_workflows=3)
    workflows = builtin_workflows(3, 0, builtin_pool()[1], split="test")
    steps = [step_text(workflow.subtasks[-1]) for workflow in workflows]
    instructions = [workflow.instruction for workflow in workflows]
    write_embeddings(tmp_path / "few.npz", steps, instructions)

    table = dataset.workflows
    last = table.query[np.arange(3), table.num_subtasks - 1]
    with np.load(tmp_path / "few.npz") as written:
        for kind, texts, rows, shipped in (
            ("subtask", steps, last, dataset.query_embeddings),
            ("instruction", instructions, table.instruction, dataset.instruction_embeddings),
        ):
            assert shipped is not None
            order = [
                int(np.flatnonzero(written[f"{kind}_keys"] == key)[0]) for key in text_keys(texts)
            ]
            again = written[f"{kind}_embeddings"][order].astype(np.float32)
            likeness = (again * shipped[rows]).sum(axis=1)
            assert likeness.min() > 0.999
            # And of no other text: the nearest other row is clearly farther.
            assert ((again @ shipped.T).argmax(axis=1) == rows).all()


def test_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    write_embeddings(first, STEPS, INSTRUCTIONS)
    write_embeddings(second, STEPS, INSTRUCTIONS)

    assert first.read_bytes() == second.read_bytes()
    with np.load(first) as arrays:
        assert arrays["subtask_embeddings"].shape == (3, 384)
        assert arrays["instruction_embeddings"].dtype == np.float16


def test_texts_are_those_of_the_default_splits() -> None:
    steps, instructions = builtin_texts()

    assert steps == sorted(set(steps)) and instructions == sorted(set(instructions))
    assert len(instructions) == 2000
    assert builtin_workflows(1, 0, builtin_pool()[1], split="test")[0].instruction in instructions


def test_command_writes_the_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(embed_builtin, "builtin_texts", lambda: (list(STEPS), list(INSTRUCTIONS)))
    path = tmp_path / "small.npz"
    embed_builtin.main(["--output", str(path)])

    assert path.is_file()
    assert "3 steps, 2 instructions, 0.0" in capsys.readouterr().out
