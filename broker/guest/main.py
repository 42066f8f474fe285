"""What a machine is asked through this program: lay a box, start its run, show it, end it."""

import json
import os
import shutil
import sys
from typing import Any, Dict, List, Set

from . import box as files
from .outputs import pack_outputs
from .packing import Writable
from .processes import LEAST_MARKER, end_all, members, wake
from .watchdog import attend, free_slots, is_alive, prevent, start

# What a client may write, and what stays of a box when it is discarded.
_WRITABLE = (files.BUNDLE, files.RESTORE)
_KEPT = (files.ALIVE, files.END, files.SPEC, files.OVER)
_CHUNK = 1 << 20


def main(arguments: List[str]) -> int:
    """ACTION BOX [NAME or more]; answers one JSON line, or a file's bytes, on stdout."""
    action, rest = arguments[0], arguments[2:]
    box = os.path.abspath(os.path.expanduser(arguments[1]))
    if action == "read":
        read(box, rest[0], int(rest[1]))
    elif action == "get":
        get(box, rest[0], sys.stdout.buffer)
    else:
        print(json.dumps(answer(action, box, rest)))
    return 0


def answer(action: str, box: str, rest: List[str]) -> Dict[str, Any]:
    """The actions that answer in JSON."""
    if action == "start":
        order = json.load(sys.stdin)
        return {"started": start(box, order["spec"], order["secrets"])}
    if action == "attend":
        return {"started": attend(box)}
    if action == "put":
        put(box, rest[0])
        return {}
    if action == "show":
        return show(box)
    if action == "list":
        return {"boxes": listing(box)}
    if action == "stop":
        stop(box, rest[0])
        return {}
    if action == "end":
        return {"ended": end(box)}
    if action == "prevent":
        return {"prevented": prevent(box)}
    if action == "room":
        slots = free_slots(box, *map(int, rest))
        for _, lock in slots or ():
            # Looked at, not taken: on this machine the asker lives on.
            os.close(lock)
        return {"room": slots is not None}
    if action == "discard":
        discard(box)
        return {}
    raise SystemExit("unknown action: " + action)


def show(box: str) -> Dict[str, Any]:
    """What is known of the run in this box: `state` is none, alive or over."""
    spec = files.read_json(box, files.SPEC) or {}
    tags, started_at = spec.get("tags"), spec.get("started_at")
    enforced = is_alive(box)
    ended = files.read_json(box, files.END)
    started = enforced or files.read(box, files.ALIVE) == files.STARTED
    if started and not enforced and ended is None:
        # Nobody enforces the kill time any more: whatever of the job is left has to go.
        lost = "watchdog and supervisor were killed, or the machine restarted"
        ended = {"why": "machine_failed", "exit_code": None, "detail": lost}
    # Also of a box that somebody emptied, or removed: what the job left running is not gone by it.
    alive = enforced or bool(_left(box))
    return {
        "state": "alive" if alive else "over" if started else "none",
        "tags": _words(tags) if isinstance(tags, dict) else {},
        "started_at": started_at if isinstance(started_at, str) else None,
        "status": files.read_json(box, files.STATUS),
        # Not the end while the last files are being saved.
        "ended": ended,
        "end": None if enforced else ended,
        "log_bytes": _size(box, files.LOG),
        "checkpoint_bytes": _size(box, files.CHECKPOINT),
    }


def _words(tags: Dict[str, Any]) -> Dict[str, str]:
    return {name: value for name, value in tags.items() if isinstance(value, str)}


def listing(root: str) -> Dict[str, Any]:
    """All boxes below `root`, by token."""
    names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    return {n: show(os.path.join(root, n)) for n in names if os.path.isdir(os.path.join(root, n))}


def put(box: str, name: str) -> None:
    """A file from stdin into the box, as a whole or not at all."""
    if name not in _WRITABLE:
        raise SystemExit("not a file to be put: " + name)
    files.private_folder(box)
    part = os.path.join(box, name + ".part")
    with open(part, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, os.path.join(box, name))


def read(box: str, name: str, offset: int) -> None:
    """So much of a file from `offset` on as one answer holds."""
    sys.stdout.buffer.write(part(box, os.path.basename(name), offset))


def part(box: str, name: str, offset: int) -> bytes:
    """So much of a file from `offset` on as one answer holds; empty when it is not there."""
    try:
        with files.plain_file(box, name) as file:
            file.seek(offset)
            return file.read(_CHUNK)
    except OSError:
        return b""


def get(box: str, name: str, into: Writable) -> None:
    """A whole file; outputs are packed on their way, nothing where there are none."""
    if name == files.OUTPUTS_TAR:
        pack_outputs(box, into)
        return
    with files.plain_file(box, os.path.basename(name)) as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            into.write(chunk)


def stop(box: str, why: str) -> None:
    """Leave the request where the supervisor looks for it; the first one counts."""
    if os.path.isdir(box) and files.read(box, files.STOP) is None:
        files.write_reserved(box, files.STOP, why)


def end(box: str) -> bool:
    """Ask the supervisor to end the run; where none lives, end what is left of it."""
    if is_alive(box):
        stop(box, "stopped")
        # Keepers that somebody froze would keep the job for ever.
        wake(os.path.join(box, files.ALIVE))
        return False
    return end_all(_marker(box), mine=False, box=box)


def discard(box: str) -> None:
    """Remove a box's bulk; its identity stays, so that the token is never used again."""
    if os.path.isdir(box):
        files.clear(box, but=_KEPT)


def _left(box: str) -> Set[int]:
    """The run's processes, whoever kept them; a folder of another kind has none."""
    marker = _marker(box)
    return members(marker, mine=False, box=box) if len(marker) >= LEAST_MARKER else set()


def _marker(box: str) -> bytes:
    """What the run's processes bear: the box is called by its token, whatever is written in it."""
    return f"MLBROKER_TOKEN={os.path.basename(box)}".encode()


def _size(box: str, name: str) -> int:
    try:
        return os.stat(os.path.join(box, name)).st_size
    except OSError:
        return 0
