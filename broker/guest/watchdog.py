"""Watches the supervisor: ends the run when the supervisor cannot, and calls for the books.

Watchdog and supervisor each enforce the kill time alone. Killing either one leaves the other.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional, Tuple, Union

from . import box as files
from .processes import adopt_orphans, boot_clock, end_all
from .supervisor import GRACE_S, Supervisor

# What a scheduler hands the job's secrets over in.
SECRETS = "MLBROKER_SECRETS"
POLL_S = 0.1
# How much later than the supervisor the watchdog strikes.
LATE_S = 0.7
# Whoever has not looked for so long was frozen, or the machine asleep: the supervisor as well.
ASLEEP_S = 5.0


def start(box: str, spec: Dict[str, Any], secrets: Dict[str, str]) -> str:
    """Start the run in this box: `yes`, `before` (it was), `never` (it is not to be), `busy`.

    The file `alive` is locked by watchdog and supervisor as long as either lives, and the kernel
    lets go of the lock whatever kills them: nobody has to trust a process id.
    """
    alive = _taken(box)
    if isinstance(alive, str):
        return alive
    slots = spec.get("slots")
    taken: Optional[List[Tuple[int, int]]] = []
    if slots:
        root, gang = os.path.expanduser(slots["root"]), slots.get("take", 1)
        taken = free_slots(root, slots["count"], gang)
    if taken is None:
        return "busy"
    files.reserve(box)
    began = _begin(box, alive, spec)
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return "yes"
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        held = [alive, *(lock for _, lock in taken)]
        _detach(box, held)
        _watch_over(box, spec, secrets, began, [number for number, _ in taken])
        # Nothing of the run is left: what follows is bookkeeping, and nobody is to wait for it.
        for lock in held:
            os.close(lock)
        _call_for_the_books(spec.get("afterwards"))
    finally:
        os._exit(0)


def attend(box: str) -> str:
    """The same, of the box's own spec and within this very process: for a scheduler, which takes
    a job for over once what it started is.

    The box was reserved: a stop may have been asked for before. The secrets are in a variable,
    which the job does not get. The spec has no kill time, as nobody knew when this would be.
    """
    spec = files.read_json(box, files.SPEC) or {}
    secrets = json.loads(os.environ.pop(SECRETS, "{}"))
    alive = _taken(box)
    if isinstance(alive, str):
        return alive
    now = datetime.now(timezone.utc)
    due = now + timedelta(seconds=spec["lifetime_s"])
    facts = dict(spec.get("facts") or {}, MLBROKER_KILL_AT=due.isoformat())
    spec = dict(spec, started_at=now.isoformat(), facts=facts)
    began = _begin(box, alive, spec)
    _watch_over(box, spec, secrets, began, [])
    files.write(box, files.OVER, files.OVER)
    return "yes"


def _taken(box: str) -> "Union[int, str]":
    """The lock of a box that is started now; else what `start` says."""
    files.private_folder(box)
    alive = os.open(os.path.join(box, files.ALIVE), os.O_RDWR | os.O_CREAT, 0o600)
    if not _lock(alive):
        return "before"
    text = os.read(alive, 64).decode()
    if text:
        return "before" if text == files.STARTED else "never"
    return alive


def _begin(box: str, alive: int, spec: Dict[str, Any]) -> float:
    """Write down that it is, and with what; when that was, by `boot_clock`."""
    files.write_json(box, files.SPEC, spec)
    os.write(alive, files.STARTED.encode())
    os.fsync(alive)
    return boot_clock()


def prevent(box: str) -> bool:
    """See to it that this box is never started; False when it was."""
    files.private_folder(box)
    alive = os.open(os.path.join(box, files.ALIVE), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(alive):
            return False
        text = os.read(alive, 64).decode()
        if not text:
            os.write(alive, files.PREVENTED.encode())
            os.fsync(alive)
        return text != files.STARTED
    finally:
        os.close(alive)


def free_slots(root: str, count: int, gang: int = 1) -> Optional[List[Tuple[int, int]]]:
    """So many places for one more job on this machine, locked: their numbers and locks.

    None, and nothing is locked, where there are too few.
    """
    files.private_folder(root)
    taken: List[Tuple[int, int]] = []
    for number in range(count):
        if len(taken) == gang:
            break
        lock = os.open(os.path.join(root, f"{number}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        if _lock(lock):
            taken.append((number, lock))
        else:
            os.close(lock)
    if len(taken) == gang:
        return taken
    for _, lock in taken:
        os.close(lock)
    return None


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems know no locks. Nobody could tell who holds a place then.
        words = "files cannot be locked in the state folder, which needs flock: "
        raise OSError(error.errno, words + str(error.strerror)) from None
    return True


def is_alive(box: str) -> bool:
    """Whether watchdog or supervisor of this box lives."""
    try:
        alive = os.open(os.path.join(box, files.ALIVE), os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(alive)
    finally:
        os.close(alive)


def _detach(box: str, held: List[int]) -> None:
    # The caller's own locks and pipes end with the caller.
    last = 3
    for lock in sorted(held):
        os.closerange(last, lock)
        last = lock + 1
    os.closerange(last, 256)
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(os.path.join(box, "guest.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target, source in ((0, null), (1, null), (2, errors)):
        os.dup2(source, target)
    os.chdir("/")


def _watch_over(
    box: str, spec: Dict[str, Any], secrets: Dict[str, str], began: float, slots: List[int]
) -> None:
    adopt_orphans()
    supervisor = os.fork()
    if supervisor == 0:
        try:
            Supervisor(box, spec, secrets, began, slots).run()
        except Exception:
            # To the box's own log, which is what is shown of a machine that failed.
            traceback.print_exc()
        finally:
            os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    strike_at = began + spec["lifetime_s"] + LATE_S
    overdue, looked_at = False, began
    while os.waitpid(supervisor, os.WNOHANG)[0] == 0:
        if boot_clock() - looked_at > ASLEEP_S:
            # Awake past the kill time, the supervisor ends the job at once, and saves its work.
            strike_at = max(strike_at, boot_clock() + LATE_S)
        looked_at = boot_clock()
        if files.vanished(box):
            # The supervisor sees it too, and gives the job its time to save itself.
            strike_at = min(strike_at, boot_clock() + GRACE_S + LATE_S)
        if boot_clock() >= strike_at:
            overdue = True
            os.kill(supervisor, signal.SIGKILL)
            os.waitpid(supervisor, 0)
            break
        time.sleep(POLL_S)
    end_all(f"MLBROKER_TOKEN={spec['token']}".encode(), mine=True, box=box)
    # Of a job that had ended by itself only its last files are lost, not how it ended.
    if files.read(box, files.END) is None and not files.vanished(box):
        why = "capped" if overdue else "machine_failed"
        detail = None if overdue else "the supervisor was killed"
        files.write_end(box, why, None, detail, elapsed_s=boot_clock() - began)


def _call_for_the_books(afterwards: Any) -> None:
    """When the client is gone, start the process that settles the run in its place."""
    if not afterwards:
        return
    # The client holds this lock as long as it lives; it settles the run itself before it lets go.
    try:
        with open(afterwards["lock"], "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
    except FileNotFoundError:
        # The state folder is gone, and the books with it.
        return
    try:
        complaints = os.open(
            afterwards["complaints"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
    except OSError:
        complaints = subprocess.DEVNULL
    subprocess.Popen(
        afterwards["argv"],
        # What may hold a secret is in no file: it comes from whoever started this.
        env=dict(
            {name: os.environ[name] for name in afterwards["inherit"] if name in os.environ},
            **afterwards["env"],
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        start_new_session=True,
    )
