"""The folder a run lives in on its machine: what to do, how it goes, how it ended."""

import json
import os
from typing import Any, Dict, Optional

SPEC, STATUS, END, STOP, LOG = "spec.json", "status.json", "end.json", "stop", "log"
ALIVE, STARTED, PREVENTED = "alive", "started\n", "prevented\n"
CHECKPOINT, RESTORE, BUNDLE = "checkpoint.tar", "restore.tar", "bundle.tar.gz"
OUTPUTS, WORK = "outputs", "work"
# Asked to end because another machine of the run did.
FOLLOWS = "another_failed"
# Inside the guest program: the folder of what jobs may import.
PROBE = "probe"


def write(box: str, name: str, text: str, durable: bool = True) -> None:
    """Replace a file as a whole: readers see the old text or the new, never a part."""
    path = os.path.join(box, name)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(box: str, name: str, value: Dict[str, Any], durable: bool = True) -> None:
    """Replace a JSON file as a whole."""
    write(box, name, json.dumps(value, sort_keys=True), durable)


def read(box: str, name: str) -> Optional[str]:
    """A file's text; None when it is not there."""
    try:
        with open(os.path.join(box, name), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def vanished(box: str) -> bool:
    """Whether somebody removed the box under its run; a disk that fails does not count as that."""
    try:
        os.stat(os.path.join(box, ALIVE))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def read_json(box: str, name: str) -> Optional[Dict[str, Any]]:
    """A JSON file's content; None when it is not there or not whole."""
    text = read(box, name)
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
