"""What a machine is asked through this program: start a run, show it, stop it, prove it gone."""

import json
import os
import sys
from typing import Any, Dict, List

from . import box as files
from .guard import is_alive, start
from .processes import end_all, members


def main(arguments: List[str]) -> int:
    """`start BOX` (secrets as JSON on stdin), `show BOX`, `end BOX`: one JSON line on stdout."""
    action, box = arguments
    if action == "start":
        secrets = json.load(sys.stdin)["secrets"]
        print(json.dumps({"started": start(box, secrets)}))
    elif action == "show":
        print(json.dumps(show(box)))
    elif action == "end":
        print(json.dumps({"ended": end(box)}))
    else:
        raise SystemExit("unknown action: " + action)
    return 0


def show(box: str) -> Dict[str, Any]:
    """What is known of the run in this box, and whether anything of it is left alive."""
    spec = files.read_json(box, files.SPEC)
    living = is_alive(box)
    ended = files.read_json(box, files.END)
    if ended is None and not living and files.read(box, files.ALIVE):
        # Nobody enforces the kill time any more: whatever of the job is left has to go.
        lost = "guard and supervisor were killed, or the machine restarted"
        ended = {"why": "machine_failed", "exit_code": None, "detail": lost}
    return {
        "spec": spec,
        "alive": living or bool(spec and members(_marker(spec), mine=False)),
        "status": files.read_json(box, files.STATUS),
        "end": ended,
        "log_bytes": _size(box, files.LOG),
        "checkpoint_bytes": _size(box, files.CHECKPOINT),
        "outputs_bytes": _size(box, files.OUTPUTS + ".tar"),
    }


def end(box: str) -> bool:
    """Ask the supervisor to end the run; where none lives, end what is left of it."""
    spec = files.read_json(box, files.SPEC)
    if spec is None:
        return True
    if is_alive(box):
        if files.read(box, files.STOP) is None:
            files.write(box, files.STOP, "stopped")
        return False
    return end_all(_marker(spec), mine=False)


def _marker(spec: Dict[str, Any]) -> bytes:
    return f"MLBROKER_TOKEN={spec['token']}".encode()


def _size(box: str, name: str) -> int:
    try:
        return os.stat(os.path.join(box, name)).st_size
    except OSError:
        return 0
