"""Guests of the loopback cloud: user-data that really runs, or a script in virtual time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tests.support.loopback_clock import VirtualClock
from tests.support.mlbroker import PATIENCE_S

MARK = "MLBROKER_LOOPBACK_MACHINE"
_WAIT = "import sys, urllib.request as u; u.urlopen(sys.argv[1])"
_TELL = 'import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method="POST"))'
_PYTHONS = {"python": "", "pip": "-m pip"}


class Guest(Protocol):
    """What happens on machines once they run."""

    def start(self, vm: Any) -> None: ...

    def end(self, vm: Any) -> None: ...

    def console(self, id_: str) -> str: ...


class Sandboxes:
    """Runs each machine's user-data as a process, with a folder in place of its disk.

    What a script would do to the system it stands on is taken by programs of the same name, put
    first on its path: they tell the loopback cloud.
    """

    def __init__(self, url: Callable[[], str], as_nobody: bool = False) -> None:
        self._url = url
        # A bare image has python3 alone; making a Python of its own takes a machine seconds.
        self.bare = False
        self._as_nobody = as_nobody and os.getuid() == 0
        self._root = Path(tempfile.mkdtemp(prefix="mlbroker-loopback-"))
        self._root.chmod(0o755)

    def home(self, id_: str) -> Path:
        return self._root / id_ / "disk"

    def start(self, vm: Any) -> None:
        folder = self._root / vm.id
        programs = folder / "bin"
        programs.mkdir(parents=True)
        script = folder / "user-data"
        script.write_text(vm.user_data)
        machine = f"{self._url()}/_machine/{vm.id}"
        tell = f"exec {sys.executable} -I -S -c '{_TELL}'"
        become = (
            "exec setpriv --reuid=nobody --regid=nogroup --clear-groups"
            if (self._as_nobody)
            else "exec"
        )
        own = {} if self.bare else {n: f'exec python3 {o} "$@"' for n, o in _PYTHONS.items()}
        for name, text in {
            **own,
            "poweroff": f"{tell} {machine}/poweroff",
            "systemd-run": self.timer(sys.executable, machine),
            "id": "exit 0",
            "apt-get": "exit 0",
            "chown": "exec /usr/bin/chown nobody: $2" if self._as_nobody else "exit 0",
            "runuser": f'shift 3; {become} "$@"',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        keep = {k: v for k, v in os.environ.items() if k in ("LANG", "TZ")}
        path = "/usr/local/bin:/usr/bin:/bin" if self._as_nobody else os.environ["PATH"]
        with open(folder / "console", "ab") as console:
            subprocess.Popen(
                ["bash", str(script)],
                cwd=folder,
                env={
                    **keep,
                    "PATH": f"{programs}:{path}",
                    "MLBROKER_GUEST_HOME": str(folder / "disk"),
                    **self.environment(vm, machine),
                    MARK: marked(vm.id),
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def environment(self, vm: Any, machine: str) -> dict[str, str]:
        """Where a guest finds its cloud and its metadata."""
        raise NotImplementedError

    def timer(self, python: str, machine: str) -> str:
        """What `systemd-run` does here: the vendor's clock ends the machine."""
        return (
            "for word; do case $word in --on-active=*) left=${word#*=};; esac; done; "
            f"exec {python} -I -S -c '{_TELL}' \"{machine}/timer?seconds=${{left%s}}\""
        )

    def end(self, vm: Any) -> None:
        """The plug is pulled: whatever lives there, however it got away, is gone."""
        until = time.monotonic() + PATIENCE_S
        while found := processes_of(vm.id):
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            assert time.monotonic() < until, f"processes of {vm.id} do not die: {found}"
            time.sleep(0.01)

    def console(self, id_: str) -> str:
        try:
            return (self._root / id_ / "console").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class DeletingSandboxes(Sandboxes):
    """Of machines that have themselves deleted: their timer begins a command."""

    def timer(self, python: str, machine: str) -> str:
        # A unit's command begins at the first word that is no option; the vendor's clock says when.
        return (
            "for word; do case $word in --on-active=*) left=${word#*=};; --*) ;; *) break;; esac; "
            "shift; done; "
            f'({python} -I -S -c \'{_WAIT}\' "{machine}/timer?seconds=${{left%s}}" && exec "$@") '
            "</dev/null >/dev/null 2>&1 &"
        )


class Folder(Protocol):
    """The run's folder in the bucket, as a machine uses it."""

    def get_object(self, vm: Any, name: str) -> bytes | None: ...

    def put_object(self, vm: Any, name: str, data: bytes) -> None: ...


class Script:
    """A guest in virtual time: works for `job_s`, reports each minute, then shuts down.

    With `job_s` None it never ends by itself. `timer` says whether the timer on the machine works.
    """

    def __init__(
        self,
        clock: VirtualClock,
        bucket: "Folder",
        power_off: Callable[[Any], None],
        job_s: float | None = 150.0,
        timer: bool = True,
    ) -> None:
        self._clock = clock
        self._bucket = bucket
        self._power_off = power_off
        self.job_s = job_s
        self.code = 0
        self.log = b"started\n"
        self.timer = timer
        self._booted: set[str] = set()
        self._left: set[str] = set()

    def start(self, vm: Any) -> None:
        if vm.id in self._booted:
            # A second boot is the end: what the job was doing is lost.
            self._left.add(vm.id)
            self._clock.after(5.0, lambda: self._end_it(vm))
            return
        self._booted.add(vm.id)
        began = self._clock.now()
        if self.timer:
            left = int(vm.user_data.partition("left=$((")[2].partition(" -")[0])
            seconds = left - began.timestamp()
            self._clock.after(max(1.0, seconds), lambda: self._end_it(vm))
        self._bucket.put_object(vm, "0/log/000000000000000", self.log)
        if self.job_s is not None:
            self._clock.after(self.job_s, lambda: self._finish(vm))
        self._beat(vm, began)

    def _beat(self, vm: Any, began: Any) -> None:
        if not self._works(vm):
            return
        elapsed = (self._clock.now() - began).total_seconds()
        self._report(vm, {"phase": "running", "elapsed_s": elapsed, "step": int(elapsed)}, None)
        asked = self._bucket.get_object(vm, "stop")
        if vm.notice_at is not None or asked is not None:
            why = "preempted" if asked is None else asked.decode()
            self._leave(vm, {"why": why, "exit_code": None})
            return
        self._clock.after(60.0, lambda: self._beat(vm, began))

    def _finish(self, vm: Any) -> None:
        if self._works(vm):
            why = "finished" if self.code == 0 else "failed"
            self._leave(vm, {"why": why, "exit_code": self.code})

    def _works(self, vm: Any) -> bool:
        return vm.works and vm.id not in self._left

    def _leave(self, vm: Any, end: dict[str, Any]) -> None:
        self._left.add(vm.id)
        self._report(vm, {"phase": "ending"}, end)
        self._clock.after(5.0, lambda: self._end_it(vm))

    def _end_it(self, vm: Any) -> None:
        if vm.works:
            self._power_off(vm)

    def _report(self, vm: Any, status: dict[str, Any], end: dict[str, Any] | None) -> None:
        document = {"status": status, "end": end, "log_bytes": len(self.log)}
        self._bucket.put_object(vm, "0/report.json", json.dumps(document).encode())

    def end(self, vm: Any) -> None:
        """Nothing of it lives anywhere."""

    def console(self, id_: str) -> str:
        return ""


def marked(id_: str) -> str:
    """A machine of this process: others count theirs from the same number."""
    return f"{os.getpid()}-{id_}"


def processes_of(id_: str) -> list[int]:
    """All living processes of a machine, told by an environment none of them can shed."""
    marker = f"{MARK}={marked(id_)}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
