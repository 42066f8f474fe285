"""The line to an agent that a run carries to its machine: its reports are the run's output."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event
from typing import Any

from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import IllegalStep, Ledger, Run
from mlbroker.broker.measure.agent_link import reports_in
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.view import View

# A machine that dies is replaced once; a second death is an answer. Places without one are none.
MAX_MACHINES = 2
# How a run, or an attempt of it, ends when its machine is to blame.
FAULTS = {"lost", "preempted", "machine_failed", "failed"}


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
        with suppress(IllegalStep):
            wish = {"why": "stopped", "by": "profile"}
            self._ledger.append(datetime.now(UTC), self._run_id, "stop_requested", wish)

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
