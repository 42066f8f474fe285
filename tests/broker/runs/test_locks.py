"""Folders on file systems that know no locks: said, never taken for locks that others hold."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.guest.watchdog import free_slot
from mlbroker.broker.runs.folder import RunFolder


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Lustre mounted without `-o flock`."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_flock")
def test_a_machine_without_locks_is_not_one_whose_places_are_taken(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="which needs flock: Function not implemented"):
        free_slot(str(tmp_path), 1)


@pytest.mark.usefixtures("no_flock")
def test_a_state_folder_without_locks_carries_no_run(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, "20261128-000000-00000000")
    with pytest.raises(MlbrokerError, match="cannot be locked") as caught, folder.carried():
        pytest.fail("two processes could carry the run")
    assert "MLBROKER_HOME" in str(caught.value)


def test_a_place_that_is_held_is_taken(tmp_path: Path) -> None:
    held = free_slot(str(tmp_path), 1)
    assert held is not None
    assert free_slot(str(tmp_path), 1) is None
    os.close(held[1])
    again = free_slot(str(tmp_path), 1)
    assert again is not None
    os.close(again[1])
