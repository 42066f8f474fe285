"""What a guest sends is kept whole or not at all, and never fills the disk here."""

from pathlib import Path

import pytest

from mlbroker.broker.clouds import arriving as module
from mlbroker.broker.clouds.arriving import arriving
from mlbroker.broker.clouds.interface import Denied, Unclear


def send(target: Path, chunks: list[bytes], error: Exception | None = None) -> None:
    with arriving(target) as file:
        for chunk in chunks:
            file.write(chunk)
        if error is not None:
            raise error


def test_a_file_is_there_when_all_of_it_came(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "outputs.tar"
    with arriving(target) as file:
        file.write(b"half")
        assert not target.exists()
        file.write(b", whole")
    assert target.read_bytes() == b"half, whole"
    with arriving(target) as file:
        pass
    assert (file.written, target.read_bytes()) == (0, b"half, whole")
    with pytest.raises(Unclear):
        send(target, [b"cut off"], Unclear("no answer"))
    assert target.read_bytes() == b"half, whole"
    assert [path.name for path in target.parent.iterdir()] == ["outputs.tar"]


def test_it_is_given_up_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = iter([2500, 500])
    monkeypatch.setattr(module, "room_below", lambda _: next(rooms))
    with pytest.raises(Denied, match="more of it needs 1,000 bytes of disk, 500 may be used"):
        send(tmp_path / "outputs.tar", [b"x" * 1000] * 100)
    assert list(tmp_path.iterdir()) == []
