"""Hands a run to a process of its own, which outlives the terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mlbroker.broker.runs.folder import RunFolder


def carry_in_background(state: Path, run_id: str, secrets: Mapping[str, str] | None) -> int:
    """Start the process that carries the run on as soon as this one lets go; its process id."""
    # What it may have to complain about is kept with the run.
    with open(RunFolder.of(state, run_id).path / "carrier.log", "ab") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlbroker.broker.runs.resume", run_id],
            env={**os.environ, "MLBROKER_HOME": str(state)},
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
