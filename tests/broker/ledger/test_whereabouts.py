"""A copied ledger leaves the original's open runs alone; a moved one goes on."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.mlbroker import Cli, processes_with, wait_for

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import Ledger, open_ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OPENING = {"job": "j", "user": "u", "project": None, "cap_usd": "5", "reserved_usd": "5"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a run that is open."""
    home = tmp_path / "home"
    open_ledger(home).reserve(NOW, "r1", OPENING)
    return home


def settle(ledger: Ledger) -> None:
    ledger.append(NOW, "r1", "settled", {"outcome": "abandoned"})


def test_a_copy_refuses_and_its_original_does_not(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    with pytest.raises(RefusedError, match="is a copy of"):
        settle(open_ledger(copy))
    with pytest.raises(RefusedError, match="reconcile --adopt"):
        open_ledger(copy).refuse_copy()
    assert [run.run_id for run in open_ledger(copy).runs()] == ["r1"], "it may still be read"
    settle(open_ledger(home))
    assert open_ledger(home).verify() is None


def test_a_copy_whose_original_is_gone_is_adopted(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    shutil.rmtree(home)
    with pytest.raises(RefusedError):
        settle(open_ledger(copy))
    open_ledger(copy).refuse_copy(adopt=True)
    settle(open_ledger(copy))


def test_a_renamed_folder_and_a_restored_backup_go_on(home: Path, tmp_path: Path) -> None:
    moved = home.rename(tmp_path / "moved")
    open_ledger(moved).refuse_copy()
    backup = tmp_path / "backup"
    shutil.copytree(moved, backup)
    shutil.rmtree(moved)
    shutil.copytree(backup, moved)
    settle(open_ledger(moved))


def test_a_copy_without_open_runs_is_a_ledger_like_any(home: Path, tmp_path: Path) -> None:
    settle(open_ledger(home))
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    open_ledger(copy).reserve(NOW, "r2", OPENING)
    open_ledger(home).reserve(NOW, "r2", OPENING)


def test_a_copied_state_folder_does_not_end_the_originals_job(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cli, other = Cli(tmp_path / "a"), Cli(tmp_path / "b")
    mark = "MARK=copied-" + tmp_path.name
    assert cli.run_local(cli.job(f"export {mark}; sleep 300"), "--detach").returncode == 0
    wait_for(lambda: processes_with(mark))
    shutil.copytree(cli.folder, other.folder)
    for words in (("reconcile",), ("stop", "--all")):
        refused = other(*words)
        assert (refused.returncode, "is a copy of" in refused.stderr) == (3, True), refused.stderr
    for words in (("ps",), ("ledger",), ("logs",)):
        assert "is a copy of" in other(*words).stderr
        assert "is a copy of" not in cli(*words).stderr
    assert processes_with(mark)
    assert cli("stop", "--all").returncode == 0
    assert cli.ledger()[0]["outcome"] == "stopped"
