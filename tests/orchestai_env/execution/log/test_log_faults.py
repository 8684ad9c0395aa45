"""A disk that is full, breaks, or was left in the middle of a line: the log stays well-formed."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.execution.log.execution_log import ExecutionLogger
from orchestai_env.execution.log.log_reading import read_log
from orchestai_env.execution.log.log_writing import ExecutionLogError
from tests.orchestai_env.execution.log_records import done_ids, record

LINE = record().model_dump_json().encode() + b"\n"


def ids(folder: Path) -> list[str]:
    """Returns the ids of a log in which no line is broken."""
    return [one.execution_id for one in read_log(folder)]


def only_file(folder: Path) -> Path:
    """Returns the one file of a log."""
    (path,) = folder.glob("*.jsonl")
    return path


def full_after(limit: int) -> Callable[[int, bytes], int]:
    """Returns a write that takes so many bytes in all, in part where they do not suffice."""
    write, left = os.write, [limit]

    def limited(descriptor: int, data: bytes) -> int:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, bytes(data)[: left[0]])
        left[0] -= done
        return done

    return limited


@pytest.mark.parametrize("taken", [0, 1, 40, len(LINE) - 1])
def test_a_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    logger = ExecutionLogger(tmp_path)
    logger.append(record("0"))
    before = only_file(tmp_path).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_after(taken))
        with pytest.raises(ExecutionLogError, match=r"No space.*; one is not in the log; free"):
            logger.append(record("one"))
    assert only_file(tmp_path).read_bytes() == before
    logger.append(record("2"))
    logger.close()
    assert ids(tmp_path) == ["0", "2"]


def test_a_limit_on_the_size_of_files_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    """The same by the kernel, which takes a part of the line."""
    with ExecutionLogger(tmp_path) as logger:
        logger.append(record("0"))
        size = only_file(tmp_path).stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            with pytest.raises(ExecutionLogError, match="File too large; 1 is not in the log"):
                logger.append(record("1"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert only_file(tmp_path).stat().st_size == size
        logger.append(record("2"))
    assert ids(tmp_path) == ["0", "2"]


def test_a_write_that_takes_a_part_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with ExecutionLogger(tmp_path) as logger:
        monkeypatch.setattr(os, "write", lambda f, data: write(f, bytes(data)[:100]))
        logger.append(record("0"))
        logger.append(record("1"))
    assert ids(tmp_path) == ["0", "1"]


def test_a_record_that_cannot_be_forced_to_the_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ExecutionLogger(tmp_path)
    logger.append(record("0"))

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(
            ExecutionLogError, match="Input/output error; 1 is not in the log; look"
        ):
            logger.append(record("1"))
        assert ids(tmp_path) == ["0"]
        with pytest.raises(ExecutionLogError, match="its last records may not be on the disk"):
            logger.close()
    logger.append(record("1"))
    logger.close()
    assert ids(tmp_path) == ["0", "1"]


def test_ctrl_c_in_the_middle_of_a_line_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, write = ExecutionLogger(tmp_path), os.write
    logger.append(record("0"))

    def stopped(descriptor: int, data: bytes) -> int:
        write(descriptor, bytes(data)[:50])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            logger.append(record("1"))
    logger.append(record("1"))
    logger.close()
    assert ids(tmp_path) == ["0", "1"]


def test_a_schema_that_cannot_be_written_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ExecutionLogger(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(ExecutionLogError, match="0 is not in the log; free some space"):
            logger.append(record("0"))
    assert list(tmp_path.iterdir()) == []
    logger.append(record("0"))
    logger.close()
    assert ids(tmp_path) == ["0"]


@given(st.data())
def test_a_torn_line_costs_nothing_but_itself(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    with ExecutionLogger(folder, fsync="never") as logger:
        logger.append(record("0"))
    path = only_file(folder)
    kept = data.draw(st.integers(1, len(LINE) - 1), label="bytes of the second line that are left")
    with path.open("ab") as file:
        file.write(LINE[:kept])
    was_whole = kept == len(LINE) - 1  # only the line feed is gone
    with ExecutionLogger(folder, fsync="never") as logger:
        logger.append(record("2"))
        logger.append(record("3"))
    reader = read_log(folder, skip_bad=True)
    found = [one.execution_id for one in reader]
    assert found == (["0", "one", "2", "3"] if was_whole else ["0", "2", "3"])
    assert [tuple(one)[:2] for one in reader.rejected] == ([] if was_whole else [(path, 2)])
    assert done_ids(folder) == set(found)


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_one_bad_line(tmp_path: Path) -> None:
    with ExecutionLogger(tmp_path) as logger:
        logger.append(record("0"))
        with only_file(tmp_path).open("ab") as file:
            file.write(bytes(5000))
        logger.append(record("1"))
    reader = read_log(tmp_path, skip_bad=True)
    assert [one.execution_id for one in reader] == ["0", "1"]
    assert reader.num_rejected == 1


def test_a_file_whose_name_is_not_on_the_disk_takes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = ExecutionLogger(tmp_path)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(ExecutionLogError, match="Input/output error; 0 is not in the log"):
            logger.append(record("0"))
    assert only_file(tmp_path).read_bytes() == b""
    logger.append(record("1"))
    logger.close()
    assert ids(tmp_path) == ["1"]
