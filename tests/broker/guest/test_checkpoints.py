"""Archives: whole or not at all, and never outside their folder."""

import io
import tarfile
from pathlib import Path

import pytest

from mlbroker.broker.guest.checkpoints import Saver, extract, pack, restore


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "evil",
    [
        member("../outside"),
        member("/etc/outside"),
        member("a/../../outside"),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("link", tarfile.SYMTYPE, "../.."),
        member("hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
    ],
)
def test_an_archive_that_leads_out_is_refused(tmp_path: Path, evil: tarfile.TarInfo) -> None:
    path = archive(tmp_path / "evil.tar", evil)
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(path) as tar, pytest.raises(ValueError, match="archive"):
        extract(tar, str(inside))
    assert list(inside.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_a_link_that_stays_inside_is_kept(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", member("real"), member("link", tarfile.SYMTYPE, "real"))
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(path) as tar:
        extract(tar, str(inside))
    assert (inside / "link").read_bytes() == b"x"


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
    add = tarfile.TarFile.add

    def add_while_written(tar: tarfile.TarFile, *arguments: object, **options: object) -> None:
        (folder / "step").write_text("22")
        add(tar, *arguments, **options)  # type: ignore[arg-type]
        (folder / "step").write_text("333")

    (folder / "step").write_text("2")
    monkeypatch.setattr(tarfile.TarFile, "add", add_while_written)
    saver.save()
    assert (tmp_path / "checkpoint.tar").read_bytes() == whole
    monkeypatch.undo()
    saver.save()
    assert (tmp_path / "checkpoint.tar").read_bytes() != whole
