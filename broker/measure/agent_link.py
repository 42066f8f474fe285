"""The line to a measuring agent: start it, hear it, stop it."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from mlbroker.broker.errors import CloudError
from mlbroker.broker.home import TEAM_LEDGER

PROBE_FOLDER = Path(__file__).parents[2] / "profiles" / "probe"
# What runs there: one follows a job, the other starts a service and loads it.
MEASURES, LOADS = "mlbroker_agent", "mlbroker_load"
QUIET_S = 0.25
# How long after its cap an agent may take to end everything and say so.
PATIENCE_S = 15.0


class AgentLink(Protocol):
    """An agent that runs one job, wherever it is."""

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """What the agent reports, and an empty message whenever it has been quiet for a while."""
        ...

    def stop(self) -> None:
        """Have the job ended. The agent reports the end; may be called again."""
        ...

    def close(self) -> None:
        """Let go; the job is ended if it was not."""
        ...

    def failure(self) -> CloudError:
        """What to raise when the agent went away without an end."""
        ...


def reports_in(lines: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """The agent's reports; other lines are none of its own."""
    for line in lines:
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


class ProcessLink:
    """An agent at the other end of a pipe: a child here, or ssh to one elsewhere."""

    def __init__(
        self, argv: Sequence[str], spec: Mapping[str, Any], cwd: Path | None = None
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            # The ledger is none of the job's business.
            env={name: value for name, value in os.environ.items() if name != TEAM_LEDGER},
            start_new_session=True,  # Ctrl-C is ours to handle: the agent ends the job in order
        )
        self._limit_s = float(spec["max_time_s"]) + PATIENCE_S
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._said: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(spec).encode() + b"\n")
            self._process.stdin.flush()

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """Reports until the agent's end."""
        while True:
            try:
                line = self._lines.get(timeout=QUIET_S)
            except queue.Empty:
                yield {}
                continue
            if line is None:
                return
            yield from reports_in([line])

    def stop(self) -> None:
        """The end of its input is the agent's sign to end the job."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def close(self) -> None:
        """Stop, and wait for the agent to have ended everything."""
        self.stop()
        try:
            self._process.wait(self._limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def failure(self) -> CloudError:
        """What to raise when the agent went away without an end."""
        self._process.wait()
        words = b"".join(self._said).decode("utf-8", "replace").strip().splitlines()
        return CloudError(
            "the measuring agent ended unexpectedly" + (f": {words[-1]}" if words else "")
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said = [*self._said[-20:], line]


def start_here(spec: Mapping[str, Any], program: str = MEASURES) -> ProcessLink:
    """One of them on this machine, in the interpreter mlbroker runs in."""
    # It is found in its own folder, not in the job's: a `json.py` there is none of its own.
    return ProcessLink([sys.executable, "-m", program], spec, cwd=PROBE_FOLDER)
