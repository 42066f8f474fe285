"""A lane on a rented machine: the trials that it was handed, one after another.

Sent with the job, so standard library and Python 3.8 only. What it leaves is the checkpoint of its
run: a folder for each trial, as the job saved itself at its pause, and `results.jsonl` beside them.
A line there is written after the folder that it goes with is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys

from .work import Work

FOLDER = ".mlbroker-study"
RESULTS = "results.jsonl"
# In JSON: the job's command, its checkpoint folder or null, a whole trial's steps, the
# metric's expression or null, and the tasks.
BATCH = "MLBROKER_STUDY_BATCH"

_stopping = False


def main() -> int:
    """Do what is not done yet; the exit code."""
    signal.signal(signal.SIGTERM, _stop)
    told = json.loads(os.environ.pop(BATCH))
    os.makedirs(FOLDER, exist_ok=True)
    done = {line["trial"] for line in results(FOLDER)}
    for task in told["tasks"]:
        if task["trial"] not in done and not _one(told, task):
            return 128 + signal.SIGTERM
    return 0


def results(folder: str) -> list:  # type: ignore[type-arg]  # what a machine said, before it is judged
    """The whole lines of what a batch came to."""
    path = os.path.join(folder, RESULTS)
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        return [json.loads(line) for line in file.read().split(b"\n")[:-1]]


def _stop(*_: object) -> None:
    global _stopping
    _stopping = True


def _one(told: dict, task: dict) -> bool:  # type: ignore[type-arg]
    """One trial to its pause; False: it was asked to stop."""
    trial, until = task["trial"], task["until"]
    sys.stdout.write(f"Trial {trial} to {until}: {json.dumps(task['env'])}\n")
    sys.stdout.flush()
    metrics: list[tuple[int, float | None]] = []

    def heard(at: int, value: float | None) -> None:
        if at >= 1 and (not metrics or at > metrics[-1][0]):
            metrics.append((at, value))

    environment = dict(task["env"], MLBROKER_TRIAL=str(trial), MLBROKER_RESOURCE=str(until))
    kept, own = os.path.join(FOLDER, str(trial)), told["checkpoint"]
    if own is not None:
        own = os.path.abspath(own)
        shutil.rmtree(own, ignore_errors=True)
        if os.path.isdir(kept):
            shutil.copytree(kept, own, symlinks=True)
        os.makedirs(own, exist_ok=True)
        environment["MLBROKER_CHECKPOINT_DIR"] = own
    last = until >= told["most"]
    work = Work(told["command"], os.getcwd(), environment, until, last, told["regex"])
    worked = work.to_its_end(heard, lambda: _stopping)
    if worked.asked or _stopping:
        return False
    if own is not None:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(own, kept)
    line = {"trial": trial, "until": until, "code": worked.code, "seconds": worked.seconds}
    with open(os.path.join(FOLDER, RESULTS), "ab") as file:
        file.write(json.dumps(dict(line, metrics=metrics)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return True


if __name__ == "__main__":
    sys.exit(main())
