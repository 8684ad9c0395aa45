"""Requests are read as they stand, and split as plans are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from supervised.plans.dataset import WorkflowDataset
from supervised.plans.splits import split_rows
from supervised.shapes.requests import SHAPES, read_requests
from tests.supervised.shapes.request_files import request_lines, write


def test_sides_are_those_of_plans_and_keep_near_duplicates_together(tmp_path: Path) -> None:
    lines = request_lines()
    lines += [line | {"instruction": f" {line['instruction']}  "} for line in lines[:20]]
    lines += [line | {"instruction": f"Please: {line['instruction']}"} for line in lines[:40]]
    texts = [line["instruction"] for line in lines]
    one = [["x"]] * len(texts)
    expected = split_rows(WorkflowDataset(texts, one, one, [[] for _ in texts]))

    found = read_requests(write(tmp_path, lines))

    for split, rows in expected.items():
        assert np.flatnonzero(found.rows(split)).tolist() == rows.tolist()
    assert found.group[160:180].tolist() == found.group[:20].tolist() == list(range(20))
    assert len(set(found.group.tolist())) < 180


def test_requests_are_read_as_they_stand(tmp_path: Path) -> None:
    lines = request_lines()
    found = read_requests(write(tmp_path, lines))

    assert found.texts == tuple(line["instruction"] for line in lines)
    assert [SHAPES[shape] for shape in found.shape] == [line["shape"] for line in lines]
    assert found.domain.tolist() == [i % 2 for i in range(160)]
