"""The box: how the job ended is written whatever the disk has left, and while files are saved."""

import fcntl
import os
from pathlib import Path

from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.main import show


def test_the_last_records_are_written_where_their_room_was_taken(tmp_path: Path) -> None:
    box = str(tmp_path)
    files.reserve(box)
    assert files.read(box, files.STOP) is files.read_json(box, files.END) is None
    before = {name: os.stat(tmp_path / name) for name in files.ROOM_BYTES}
    files.write_reserved(box, files.STOP, "preempted")
    files.write_end(box, "finished", 0, "\U0001f600" * 5000, step=3)
    assert (files.read(box, files.STOP) or "").strip() == "preempted"
    end = files.read_json(box, files.END) or {}
    assert (end["why"], end["exit_code"], end["step"]) == ("finished", 0, 3)
    for name, found in before.items():
        after = os.stat(tmp_path / name)
        assert (after.st_ino, after.st_size, after.st_blocks) == (
            found.st_ino, found.st_size, found.st_blocks,
        )  # fmt: skip


def test_without_its_room_a_record_is_written_all_the_same(tmp_path: Path) -> None:
    files.write_end(str(tmp_path), "failed", 3, None)
    assert files.read_json(str(tmp_path), files.END) == {
        "why": "failed", "exit_code": 3, "detail": None,
    }  # fmt: skip


def test_a_job_that_ended_is_no_lost_machine_whoever_dies_while_its_files_are_saved(
    tmp_path: Path,
) -> None:
    box = tmp_path / "mlb-0123456789-1"
    box.mkdir()
    files.reserve(str(box))
    (box / files.ALIVE).write_text(files.STARTED)
    with open(box / files.ALIVE, "r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        files.write_end(str(box), "finished", 0, None)
        while_saved = show(str(box))
    assert while_saved["end"] is None
    assert while_saved["ended"]["why"] == "finished"
    afterwards = show(str(box))
    assert afterwards["end"]["why"] == "finished"
