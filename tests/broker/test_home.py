"""The state folder is the user's alone, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli

from mlbroker.broker.ledger import open_ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What others could write to, or look into, of the folder's way in."""
    return [
        f"{path}: {path.lstat().st_mode:o}"
        for path in (folder, *folder.rglob("*"))
        if path.is_dir() and path.lstat().st_mode & 0o077
    ]


@pytest.mark.usefixtures("no_umask")
def test_what_a_run_leaves_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    cli = Cli(tmp_path / "work")
    job = cli.job('mkdir -m 700 "$MLBROKER_OUTPUT_DIR/o"; umask > "$MLBROKER_OUTPUT_DIR/o/umask"')
    answer = cli.run_local(job)
    assert answer.returncode == 0, answer.stderr
    mine = [f for f in open_to_others(cli.home) if "/outputs" not in f]
    assert mine == []
    for name in ("ledger.db", "ledger.lock"):
        assert stat.S_IMODE((cli.home / name).stat().st_mode) == 0o600
    (umask,) = (cli.home / "runs").glob("*/outputs/o/umask")
    assert int(umask.read_text(), 8) == 0, "the job's own files are as it makes them"


@pytest.mark.usefixtures("no_umask")
def test_a_state_folder_that_others_may_write_to_is_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o777)
    (home / "ledger.db").touch(mode=0o666)
    open_ledger(home).note(NOW, "approved", {"id": "1"})
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert stat.S_IMODE((home / "ledger.db").stat().st_mode) == 0o600
    assert "others could write to the state folder" in capsys.readouterr().err
    open_ledger(home).note(NOW, "approved", {"id": "2"})
    assert capsys.readouterr().err == ""


def test_a_folder_like_tmp_is_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o1777)
    open_ledger(home).note(NOW, "approved", {"id": "1"})
    assert stat.S_IMODE(home.stat().st_mode) == 0o1777
