"""Folders on file systems that know no locks: said, never taken for locks that others hold."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.guest.watchdog import free_slots
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
        free_slots(str(tmp_path), 1)


@pytest.mark.usefixtures("no_flock")
def test_a_state_folder_without_locks_carries_no_run(tmp_path: Path) -> None:
    folder = RunFolder.of(tmp_path, "20261128-000000-00000000")
    with pytest.raises(MlbrokerError, match="cannot be locked") as caught, folder.carried():
        pytest.fail("two processes could carry the run")
    assert "MLBROKER_HOME" in str(caught.value)


def test_a_gang_has_all_its_places_or_none(tmp_path: Path) -> None:
    root = str(tmp_path)
    held = free_slots(root, 4)
    assert held is not None
    gang = free_slots(root, 4, 3)
    assert gang is not None
    assert [number for number, _ in held + gang] == [0, 1, 2, 3]
    assert free_slots(root, 4) is None
    os.close(gang[1][1])
    # One is free: two are not to be had, and the one stays free.
    assert free_slots(root, 4, 2) is None
    again = free_slots(root, 4)
    assert [number for number, _ in again or ()] == [2]
    for _, lock in (*held, gang[0], gang[2], *(again or ())):
        os.close(lock)
