"""Checkpoints: whole or not at all, and put back where nothing newer is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlbroker.broker.guest import checkpoints, packing
from mlbroker.broker.guest.checkpoints import Saver, restore
from mlbroker.broker.guest.tar_reader import BadArchive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "ckpt"
    folder.mkdir(parents=True)
    return folder


def saved(box: Path, name: str = "checkpoint.tar") -> bytes:
    return (box / name).read_bytes()


def carried(tmp_path: Path) -> Path:
    """Another machine's box, with this one's checkpoint."""
    box = tmp_path / "other"
    box.mkdir()
    (box / "restore.tar").write_bytes(saved(tmp_path))
    return box


def test_a_folder_is_saved_and_put_back(tmp_path: Path, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_text("w")
    (folder / "latest").symlink_to("deep")
    (folder / "data").symlink_to("/etc")
    saver = Saver(str(tmp_path), str(folder), every_s=60)
    saver.finish(within_s=60)
    assert saver.notes == ["left out of the checkpoint: data (a link that leads out of the folder)"]
    box, target = carried(tmp_path), tmp_path / "again"
    assert restore(str(box), str(target), "ckpt", repeated=True) == [
        "checkpoint restored to ckpt",
        "not in the checkpoint: data (a link that leads out of the folder)",
    ]
    assert (target / "latest" / "weights").read_text() == "w"
    (target / "deep" / "weights").write_text("newer")
    (line,) = restore(str(box), str(target), "ckpt", repeated=False)
    assert "not restored" in line
    assert (target / "deep" / "weights").read_text() == "newer"


def test_a_folder_that_is_a_link_is_saved_and_put_back(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "ckpt").symlink_to("scratch")
    (tmp_path / "scratch" / "w").write_text("w")
    Saver(str(tmp_path), str(tmp_path / "ckpt"), every_s=60).save()
    box = carried(tmp_path)
    (tmp_path / "scratch" / "w").unlink()
    assert restore(str(box), str(tmp_path / "ckpt"), "ckpt", repeated=True)
    assert (tmp_path / "scratch" / "w").read_text() == "w"


def test_who_starts_from_nothing_is_told(tmp_path: Path, folder: Path) -> None:
    assert restore(str(tmp_path), str(folder), "ckpt", repeated=False) == []
    (line,) = restore(str(tmp_path), str(folder), "ckpt", repeated=True)
    assert "starting from nothing" in line
    with open(tmp_path / "restore.tar", "wb") as stream:
        packing.pack(str(folder), stream)
    (line,) = restore(str(tmp_path), str(folder), "ckpt", repeated=False)
    assert line == "the checkpoint holds no files: starting from nothing"


def test_half_a_checkpoint_is_none(tmp_path: Path, folder: Path) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_bytes(b"b" * 9000)
    Saver(str(tmp_path), str(folder), every_s=60).save()
    (tmp_path / "restore.tar").write_bytes(saved(tmp_path)[:4000])
    with pytest.raises(BadArchive, match="cut off"):
        restore(str(tmp_path), str(tmp_path / "again"), "ckpt", repeated=True)
    assert list((tmp_path / "again").iterdir()) == []


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Something happens in each save, when the folder has been looked at."""
    real = packing.pack

    def pack(*arguments: Any, **options: Any) -> packing.Packed:
        what()
        return real(*arguments, **options)

    monkeypatch.setattr(checkpoints, "pack", pack)


def test_a_checkpoint_that_is_being_written_does_not_replace_a_whole_one(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "step").write_text("1")
    saver = Saver(str(tmp_path), str(folder), every_s=100)
    saver.save()
    whole = saved(tmp_path)
    (folder / "step").write_text("2")
    meanwhile(monkeypatch, lambda: (folder / "next").write_text("3"))
    saver.save()
    assert saved(tmp_path) == whole
    assert not (tmp_path / "checkpoint.tar.tmp").exists()
    monkeypatch.undo()
    saver.save()
    assert saved(tmp_path) != whole


def test_a_log_beside_it_keeps_no_checkpoint_from_being_saved(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "weights").write_text("1")

    def log() -> None:
        with open(folder / "log", "a") as file:
            file.write("a line\n")

    log()
    meanwhile(monkeypatch, log)
    saver = Saver(str(tmp_path), str(folder), every_s=100)
    saver.save()
    assert not (tmp_path / "checkpoint.tar").exists(), "it may be a checkpoint half written"
    assert saver._fails_since is not None
    saver._fails_since -= checkpoints.PATIENCE_S
    saver.save()
    first = saved(tmp_path)
    (folder / "weights").write_text("22")
    saver.save()
    assert saved(tmp_path) != first, "known to be a log, it is not waited for again"


def test_without_room_for_a_copy_none_is_begun(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "weights").write_bytes(b"w" * 9000)
    monkeypatch.setattr(checkpoints, "room_below", lambda _: 5000)
    saver = Saver(str(tmp_path), str(folder), every_s=60)
    saver.save()
    saver.save()
    (note,) = saver.notes
    assert note == (
        "the checkpoint was not saved: a copy of the checkpoint needs 10,024 bytes of disk, "
        "5,000 may be used"
    )
    assert saver.fault == note
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_save_that_fails_is_told_until_one_succeeds(tmp_path: Path, folder: Path) -> None:
    saver = Saver(str(tmp_path), str(folder), every_s=60)
    saver.save(last=True)
    assert (saver.fault, saver.notes) == (None, [])
    empty = "no checkpoint is saved: its folder holds no file so far"
    saver.save()
    saver.save()
    assert (saver.fault, saver.notes) == (empty, [empty])
    (folder / "weights").write_text("1")
    saver.save()
    assert saver.fault is None
    blocked = tmp_path / "checkpoint.tar.tmp"
    (folder / "weights").write_text("22")
    blocked.mkdir()
    saver.save()
    refused = "the checkpoint was not saved: Is a directory"
    assert (saver.fault, saver.notes) == (refused, [empty, refused])
    blocked.rmdir()
    saver.save()
    assert saver.fault is None
    (folder / "weights").write_text("333")
    blocked.mkdir()
    saver.save()
    assert saver.notes == [empty, refused, refused], "told again, as it went well in between"
