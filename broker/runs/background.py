"""Carries a run in a process of its own, which outlives the terminal: `python -m … RUN_ID`.

Started by a machine's watchdog, by `run --detach` and by Ctrl-C. Secrets come as JSON on stdin
when the run may still launch machines.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.clouds import opener
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import warn
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.view import View
from mlbroker.broker.team import pinned


def carry_in_background(state: Path, run_id: str, secrets: Mapping[str, str] | None) -> int:
    """Start the process that carries the run on as soon as this one lets go; its process id."""
    # What it may have to complain about is kept with the run.
    with open(RunFolder.of(state, run_id).complaints, "ab") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlbroker.broker.runs.background", run_id],
            env={**os.environ, **pinned(), "MLBROKER_HOME": str(state)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,
        )
    assert process.stdin is not None
    with process.stdin as pipe:
        # Through the pipe: arguments are there for everybody to read.
        if secrets is not None:
            pipe.write(json.dumps({"secrets": dict(secrets)}).encode())
    return process.pid


class Complaints(View):
    """Nobody watches: what needs attention goes to stderr, which is kept with the run."""

    def warn(self, text: str) -> None:
        """A line, with its time."""
        warn(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {text}")


def carry(run_id: str, secrets: dict[str, str] | None, state: Path) -> None:
    """Wait for whoever carries the run, then carry it to its settlement."""
    folder = RunFolder.of(state, run_id)
    with folder.carried():
        run = open_ledger(state).run(run_id)
        if run is not None and not run.settled:
            driver = Driver(
                open_ledger(state), opener(state), Clock(), folder, Complaints(), secrets
            )
            driver.drive(run_id)


if __name__ == "__main__":
    given = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
    carry(sys.argv[1], json.loads(given)["secrets"] if given else None, home())
