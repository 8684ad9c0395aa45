"""Tenure: a new collection is alone, whatever an earlier one has left running."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from orchestai_env.errors import ConfigError
from orchestai_env.execution.collection import tenure as module
from orchestai_env.execution.collection.tenure import batch_lock, end_tenure, is_wanted, tenure
from orchestai_env.run_folder import RunFolderError, claim

OTHERS = "is not the folder of this collection; every machine of the cluster needs it"


def test_batches_are_wanted_until_the_collection_ends(tmp_path: Path) -> None:
    with claim(tmp_path), tenure(tmp_path) as token:
        with batch_lock(tmp_path, token), batch_lock(tmp_path, token):
            assert is_wanted(tmp_path, token)
        end_tenure(tmp_path)
        assert not is_wanted(tmp_path, token)
    with pytest.raises(ConfigError, match=OTHERS), batch_lock(tmp_path, token):
        pass


def test_batches_of_an_earlier_collection_are_refused(tmp_path: Path) -> None:
    with claim(tmp_path):
        with tenure(tmp_path) as before:
            pass
        with (
            tenure(tmp_path) as token,
            pytest.raises(ConfigError, match=OTHERS),
            batch_lock(tmp_path, before),
        ):
            pass
    assert token != before


def test_folder_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=OTHERS), batch_lock(tmp_path, "0" * 32):
        pass


def test_new_collection_waits_until_earlier_batches_have_noticed(tmp_path: Path) -> None:
    held, events = threading.Event(), []
    with claim(tmp_path), tenure(tmp_path) as before:

        def batch() -> None:
            with batch_lock(tmp_path, before):
                held.set()
                while is_wanted(tmp_path, before):
                    time.sleep(0.01)
                events.append("batch ended")

        thread = threading.Thread(target=batch)
        thread.start()
        assert held.wait(10.0)
        with tenure(tmp_path):
            events.append("new collection")
        thread.join()
    assert events == ["batch ended", "new collection"]


def test_batches_that_do_not_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.2)
    with (
        claim(tmp_path),
        tenure(tmp_path) as before,
        batch_lock(tmp_path, before),
        pytest.raises(RunFolderError, match="batches of an earlier collection are still writing"),
        tenure(tmp_path),
    ):
        pass


def test_disk_whose_locks_other_machines_do_not_see_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path), tenure(tmp_path) as token:
        (tmp_path / ".lock").unlink()  # so that nobody sees who holds it
        (tmp_path / ".lock").touch()
        with (
            pytest.raises(ConfigError, match=r"does not see the file lock.*NFS: without nolock"),
            batch_lock(tmp_path, token),
        ):
            pass
