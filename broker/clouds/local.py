"""This machine: a run is a detached guard and supervisor, in sessions of their own."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any

from mlbroker.broker.clouds.seam import (
    Denied,
    Intent,
    Machine,
    MachineState,
    Payload,
    Report,
    Traits,
    Unclear,
)
from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.bundle import guest_program
from mlbroker.broker.guest.main import end, show

_INTENT = "intent.json"
_PROGRAM = "guest.pyz"
_START_TIMEOUT_S = 60


class LocalCloud:
    """Machines are folders below `home/machines`, named by their token."""

    traits = Traits(
        kill_slack_s=2.0,
        visible_after_s=0.0,
        poll_s=0.1,
        layers=("the supervisor of the job", "a guard process that watches the supervisor"),
    )

    def __init__(self, home: Path) -> None:
        self._home = home
        self._machines = home / "machines"

    def arm_kill(self, intent: Intent) -> None:
        """Nothing to do ahead: the guard sets its timer before it starts anything."""

    def disarm_kill(self, intent: Intent) -> None:
        """Nothing outlives the guard."""

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay out the box and start its guard; a box that was started is left as it is."""
        box = self._box(intent.token)
        try:
            box.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(box) as lock:
                if not _started(box):
                    self._lay_out(box, intent, payload)
                    self._start(box, payload.secrets, lock)
        except OSError as error:
            raise Denied(f"cannot start the job here: {error}", where=str(box)) from error
        machine = self.status(intent.token)
        if machine is None:
            raise Unclear("the job's box is not there", where=str(box))
        return machine

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """The boxes whose tags hold all of these."""
        if not self._machines.is_dir():
            return []
        machines = (self.status(entry.name) for entry in sorted(self._machines.iterdir()))
        return [m for m in machines if m is not None and tags.items() <= m.tags.items()]

    def status(self, machine_id: str) -> Machine | None:
        """Read off the locks and the processes, not off what anybody wrote down."""
        box = self._box(machine_id)
        intent = files.read_json(str(box), _INTENT)
        if intent is None:
            return None
        if not _started(box):
            # A start may be under way whose client is dead already: absence is certain only now.
            with _locked(box):
                if not _started(box):
                    return None
        seen = show(str(box))
        began = datetime.fromisoformat(intent["started_at"])
        if seen["alive"]:
            state, ended_at = MachineState.RUNNING, None
        else:
            state = MachineState.TERMINATED
            elapsed = (seen["end"] or {}).get("elapsed_s")
            ended_at = None if elapsed is None else began + timedelta(seconds=elapsed)
        return Machine(machine_id, state, intent["tags"], began, ended_at)

    def terminate(self, machine_id: str) -> None:
        """Ask the supervisor; where none is left, end the remaining processes."""
        box = self._box(machine_id)
        if box.is_dir():
            end(str(box))

    def console_log(self, machine_id: str) -> str:
        """What guard and supervisor had to say about themselves."""
        return files.read(str(self._box(machine_id)), "guest.log") or ""

    def report(self, intent: Intent) -> Report:
        """The files the supervisor writes."""
        seen = show(str(self._box(intent.token)))
        return Report(
            seen["status"],
            seen["end"],
            seen["log_bytes"],
            seen["checkpoint_bytes"],
            seen["outputs_bytes"],
        )

    def stop_job(self, intent: Intent, why: str) -> None:
        """Leave the request where the supervisor looks for it."""
        box = self._box(intent.token)
        if box.is_dir() and files.read(str(box), files.STOP) is None:
            files.write(str(box), files.STOP, why)

    def read_log(self, intent: Intent, offset: int) -> bytes:
        """From the log file itself."""
        try:
            with open(self._box(intent.token) / files.LOG, "rb") as log:
                log.seek(offset)
                return log.read(1 << 20)
        except FileNotFoundError:
            return b""

    def fetch(self, intent: Intent, name: str, target: Path) -> bool:
        """A copy on the same disk."""
        source = self._box(intent.token) / name
        if not source.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".part")
        copyfile(source, temporary)
        temporary.replace(target)
        return True

    def discard(self, intent: Intent) -> None:
        """Remove the box's bulk; its identity stays, so that the token is never used again."""
        box = self._box(intent.token)
        for entry in box.iterdir() if box.is_dir() else ():
            if entry.name in (_INTENT, files.ALIVE, files.END, files.SPEC):
                continue
            if entry.is_dir() and not entry.is_symlink():
                rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink()

    def _box(self, token: str) -> Path:
        return self._machines / Path(token).name

    def _lay_out(self, box: Path, intent: Intent, payload: Payload) -> None:
        now = datetime.now(UTC)
        spec = dict(payload.spec)
        spec["token"] = intent.token
        spec["lifetime_s"] = (intent.kill_at - now).total_seconds()
        spec["afterwards"] = self._afterwards(intent.run_id)
        for source, name in ((payload.bundle, files.BUNDLE), (payload.restore, files.RESTORE)):
            if source is not None and source.exists():
                copyfile(source, box / name)
        (box / _PROGRAM).write_bytes(guest_program())
        described = {"tags": dict(intent.tags), "started_at": now.isoformat()}
        files.write_json(str(box), _INTENT, described)
        files.write_json(str(box), files.SPEC, spec)

    def _start(self, box: Path, secrets: Mapping[str, str], lock: int) -> None:
        # Secrets go through a pipe: arguments and files can be read by others.
        # The starting process keeps the lock, should this one die meanwhile.
        answer = subprocess.run(
            [sys.executable, "-I", "-S", str(box / _PROGRAM), "start", str(box)],
            input=json.dumps({"secrets": dict(secrets)}),
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT_S,
            check=False,
            pass_fds=(lock,),
            start_new_session=True,
        )
        if answer.returncode != 0:
            raise Denied(f"the supervisor did not start: {answer.stderr.strip()[-300:]}")

    def _afterwards(self, run_id: str) -> dict[str, Any]:
        keep = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        return {
            "lock": str(self._home / "runs" / run_id / "lock"),
            "argv": [sys.executable, "-m", "mlbroker.broker.runs.resume", run_id],
            "env": {**environment, "MLBROKER_HOME": str(self._home)},
        }


def _started(box: Path) -> bool:
    return bool(files.read(str(box), files.ALIVE))


@contextmanager
def _locked(box: Path) -> Iterator[int]:
    """Two processes with one token start one machine."""
    lock = os.open(box / "create.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)
