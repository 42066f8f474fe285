"""An agent as the job of a run: what travels to its machine, and what it reports from there."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

from mlbroker.broker.errors import CloudError
from mlbroker.broker.home import private_folder
from mlbroker.broker.ledger import Ledger, Run
from mlbroker.broker.measure.agent_link import PROBE_FOLDER, reports_in
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.view import View
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job

FOLDER = ".mlbroker-probe"
SPEC = "spec.json"
# A machine that dies is replaced once; a second death is an answer. Places without one are none.
MAX_MACHINES = 2
# How a run, or an attempt of it, ends when its machine is to blame.
FAULTS = {"lost", "preempted", "machine_failed", "failed"}


def pack(workdir: Path, spec: Mapping[str, Any], target: Path, secrets: Mapping[str, str]) -> None:
    """Write the bundle: what a run would send, and the probe in a folder of its own beside it."""
    probe = {
        f"{FOLDER}/{path.relative_to(PROBE_FOLDER)}": path.read_bytes()
        for path in sorted(PROBE_FOLDER.rglob("*.py"))
    }
    spec_file = {f"{FOLDER}/{SPEC}": (json.dumps(spec) + "\n").encode()}
    pack_workdir(workdir, target, secrets, probe | spec_file)


def run_spec(
    job: Job,
    cloud: str,
    folder: RunFolder,
    program: str,
    spec: Mapping[str, Any],
    secrets: Mapping[str, str],
) -> dict[str, Any]:
    """`program` as the job of a run. Its own command line never meets the user's words."""
    here = job.workdir or str(Path.cwd())
    spec = {**spec, "control": False}
    if cloud == LOCAL:
        # As a run on this machine does: in the job's own folder, with all that lies there.
        path = folder.path / SPEC
        private_folder(str(folder.path))
        path.write_text(json.dumps(spec) + "\n", encoding="utf-8")
        python, probe = shlex.quote(sys.executable), shlex.quote(str(PROBE_FOLDER))
        command = f"cd {probe} && exec {python} -m {program} < {shlex.quote(str(path))}"
    else:
        pack(Path(here), {**spec, "cwd": ".."}, folder.bundle, secrets)
        command = f"cd {FOLDER} && exec python3 -m {program} < {SPEC}"
    return {
        "setup": None,
        "command": command,
        "envs": {},
        "workdir": here if cloud == LOCAL else None,
        "progress": None,
        "checkpoint": None,
        "stop_when_idle_s": None,
    }


class RunLink:
    """An agent that a run carries: its reports are the run's output."""

    def __init__(
        self, ledger: Ledger, driver: Driver, run_id: str, lines: "ReportLines", interrupted: Event
    ) -> None:
        self._ledger = ledger
        self._driver = driver
        self._run_id = run_id
        self._lines = lines
        self._interrupted = interrupted
        self._run: Run | None = None

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """Reports until the run is settled; `restart` when it goes on on another machine."""
        attempt = 1
        while self._run is None or not self._run.settled:
            self._run = self._driver.advance(self._run_id)
            if self._run.attempts and self._run.attempt.number > attempt:
                attempt = self._run.attempt.number
                yield {"restart": attempt}
                if sum(1 for a in self._run.attempts if a.machine_id) >= MAX_MACHINES:
                    self.stop()
            if self._interrupted.is_set():
                self.stop()
            yield from self._lines.take()
            yield {}

    def stop(self) -> None:
        """Leave the wish in the ledger, as `mlbroker stop` does."""
        self._ledger.ask_to_stop(datetime.now(UTC), self._run_id, "profile")

    def close(self) -> None:
        """Settle the run if it is not."""
        if self._run is None or not self._run.settled:
            self.stop()
            self._run = self._driver.drive(self._run_id)

    def failure(self) -> CloudError:
        """What became of the machine."""
        run = self._run
        last = run.attempts[-1] if run is not None and run.attempts else None
        outcome = run.outcome if run is not None else "never started"
        return CloudError(
            f"{outcome}: {last.detail if last and last.detail else 'the agent never answered'}"
        )


class ReportLines(View):
    """Takes the run's output apart into reports."""

    def __init__(self) -> None:
        self._pending = b""
        self._messages: list[Mapping[str, Any]] = []

    def output(self, data: bytes) -> None:
        """Some bytes of the log."""
        lines = (self._pending + data).split(b"\n")
        self._pending = lines.pop()
        self._messages += reports_in(lines)

    def take(self) -> list[Mapping[str, Any]]:
        """The reports since the last call."""
        taken, self._messages = self._messages, []
        return taken


def machines_failed(run: Run | None) -> bool:
    """Whether it was its machines that did not work."""
    if run is None:
        return False
    deaths = [attempt for attempt in run.attempts if attempt.machine_id and attempt.why in FAULTS]
    return run.outcome in FAULTS or len(deaths) >= MAX_MACHINES
