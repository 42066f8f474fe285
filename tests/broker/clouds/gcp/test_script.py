"""The start-up script: its first lines, a second boot, and what it does not let through."""

import hashlib
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.clouds.checks import probe
from mlbroker.broker.clouds.gcp.cloud import LATER_S
from mlbroker.broker.clouds.user_data import start_script
from mlbroker.broker.guest.bundle import guest_program

BUCKET = "mlbroker-acme-us-central1"
KILL_AT = 1_795_600_000


def startup_script(kill_at: int, lifetime_s: int, token: str = "mlb-r1-1") -> str:
    ends = datetime.fromtimestamp(kill_at, UTC)
    intent = replace(
        probe("gcp", "us-central1", "e2-standard-2", ends),
        token=token,
        intended_at=ends - timedelta(seconds=lifetime_s),
        kill_at=ends,
    )
    return start_script(intent, BUCKET, 262144, deletes=True, later_s=LATER_S)


def run(folder: Path, script: str, systemd: str = "exit 0", python: str = "exit 0") -> list[str]:
    """Run it where the programs it calls only take notes; what they were called with."""
    programs = folder / "bin"
    programs.mkdir()
    notes = folder / "notes"
    for name, text in {
        "systemd-run": systemd,
        "apt-get": "exit 0",
        "runuser": "exit 0",
        "poweroff": "exit 0",
        "chown": "exit 0",
        "id": "exit 0",
        "date": f"echo {KILL_AT - 1000}",
    }.items():
        (programs / name).write_text(f'#!/bin/bash\necho "{name} $*" >>{notes}\n{text}\n')
        (programs / name).chmod(0o755)
    (programs / "python3").write_text(f"#!/bin/bash\n{python}\n")
    (programs / "python3").chmod(0o755)
    (folder / "script").write_text(script)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "MLBROKER_GUEST_HOME": str(folder / "home")}
    subprocess.run(
        ["bash", str(folder / "script")], env=environment, check=True, timeout=PATIENCE_S
    )
    return notes.read_text().splitlines()


def test_the_timer_is_armed_first_and_later_than_googles(tmp_path: Path) -> None:
    date, timer, *rest = run(tmp_path, startup_script(KILL_AT, 7200))
    assert date.startswith("date")
    assert f"--on-active={1000 + LATER_S}s" in timer
    assert "broker.clouds.gcp.guest; poweroff -f" in timer
    digest = hashlib.sha256(guest_program()).hexdigest()
    arguments = f"gcp us-central1 {BUCKET} runs/mlb-r1-1 {digest}"
    job, end = [note for note in rest if note.startswith("runuser")]
    assert job == f"runuser -u mlbroker -- python3 boot.pyz {arguments}"
    assert end == (
        f"runuser -u mlbroker -- env PYTHONPATH={tmp_path}/home/boot.pyz "
        "python3 -m broker.clouds.gcp.guest"
    )
    # At the end of a job the machine is deleted, never merely shut down.
    assert not any(note.startswith("poweroff") for note in rest)


def test_an_image_without_environments_of_pythons_own_gets_them(tmp_path: Path) -> None:
    """As Ubuntu is: `python3 -m venv` needs a package, and the job's user may install none."""
    notes = run(tmp_path, startup_script(KILL_AT, 7200), python="exit 1")
    called = [note.split()[0] for note in notes]
    assert called == [
        *("date", "systemd-run", "apt-get", "apt-get"),
        *("id", "chown", "runuser", "runuser"),
    ]
    assert notes[3].endswith("install python3-venv")


def test_a_machine_with_a_wrong_date_lives_no_longer_than_its_life(tmp_path: Path) -> None:
    _, timer, *_ = run(tmp_path, startup_script(KILL_AT + 10**8, 600))
    assert f"--on-active={600 + LATER_S}s" in timer


def test_a_second_boot_is_the_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "boot.pyz").write_text("")
    notes = run(tmp_path, startup_script(KILL_AT, 7200))
    assert [note.partition(" ")[0] for note in notes] == ["date", "systemd-run", "runuser"]
    assert notes[-1].endswith("python3 -m broker.clouds.gcp.guest")


def test_without_systemd_the_timer_is_a_process(tmp_path: Path) -> None:
    soon = startup_script(KILL_AT - 1000 - LATER_S, 7200)
    run(tmp_path, soon, systemd="exit 1")
    notes = tmp_path / "notes"
    subprocess.run(
        ["bash", "-c", f"until grep -q poweroff {notes}; do sleep 0.05; done"],
        check=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("wrong", ["$(reboot)", "a b", "x;y", "`z`", "ü"])
def test_nothing_that_means_something_to_a_shell_gets_in(wrong: str) -> None:
    with pytest.raises(ValueError, match="not fit for a script"):
        startup_script(KILL_AT, 7200, token=wrong)
