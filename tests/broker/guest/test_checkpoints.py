"""Checkpoints: whole or not at all, and put back where nothing newer is."""

from pathlib import Path
from typing import Any

import pytest

from mlbroker.broker.guest import packing
from mlbroker.broker.guest.checkpoints import Saver, pack, restore


def test_a_folder_is_packed_and_put_back(tmp_path: Path) -> None:
    source = tmp_path / "ckpt"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "weights").write_text("w")
    box = tmp_path / "box"
    box.mkdir()
    assert pack(str(source), str(box / "restore.tar"))
    target = tmp_path / "again"
    assert restore(str(box), str(target))
    assert (target / "deep" / "weights").read_text() == "w"
    (target / "deep" / "weights").write_text("newer")
    assert not restore(str(box), str(target)), "what is there already is newer"
    assert (target / "deep" / "weights").read_text() == "newer"


def test_a_checkpoint_that_is_being_written_does_not_replace_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ckpt"
    folder.mkdir()
    (folder / "step").write_text("1")
    saver = Saver(str(tmp_path), str(folder), every_s=0)
    saver.save()
    whole = (tmp_path / "checkpoint.tar").read_bytes()

    real = packing.pack

    def pack_while_written(*arguments: Any, **options: Any) -> None:
        (folder / "step").write_text("22")
        real(*arguments, **options)
        (folder / "step").write_text("333")

    (folder / "step").write_text("2")
    monkeypatch.setattr("mlbroker.broker.guest.checkpoints.packing.pack", pack_while_written)
    saver.save()
    assert (tmp_path / "checkpoint.tar").read_bytes() == whole
    monkeypatch.undo()
    saver.save()
    assert (tmp_path / "checkpoint.tar").read_bytes() != whole
