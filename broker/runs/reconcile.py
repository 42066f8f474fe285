"""Makes machines and ledger agree: the clouds are listed first, then the ledger is read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from mlbroker.broker.clouds.interface import RUN_TAG, TOKEN_TAG, Cloud, Machine, MachineState
from mlbroker.broker.errors import CloudError, MlbrokerError
from mlbroker.broker.ledger import Ledger, Run, State
from mlbroker.broker.ledger.state import GOING_ON
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.elsewhere import elsewhere
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import secrets_at_hand
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.summary import spent_words
from mlbroker.broker.runs.view import View

ORPHAN_PATIENCE_S = 300.0
_ON_A_MACHINE = frozenset({State.CREATED, State.CONFIRMED, State.BOOTSTRAPPED, State.RUNNING})


class Did(StrEnum):
    """What was found, or done about it."""

    SETTLED = "settled"
    STILL_RUNNING = "still_running"
    WAITING = "waiting"
    ATTENDED = "attended"
    ELSEWHERE = "elsewhere"
    ORPHAN_ENDED = "orphan_ended"
    FOREIGN = "foreign"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the reconciliation."""

    did: Did
    what: str
    detail: str


class Reconciler:
    """Goes through every cloud that runs of this ledger used, and every run still open."""

    def __init__(
        self,
        ledger: Ledger,
        opened: Callable[[str], Cloud],
        clock: Clock,
        state: Path,
        view: View | None = None,
    ) -> None:
        self._ledger = ledger
        self._opened = opened
        self._clock = clock
        self._state = state
        self._view = view or View()

    def __call__(self) -> Iterator[Finding]:
        """Do it, and tell step by step."""
        self._ledger.refuse_copy()
        ours = (run for run in self._ledger.runs() if self._elsewhere(run) is None)
        used = {attempt.cloud for run in ours for attempt in run.attempts}
        for name in sorted(used):
            yield from _whatever_comes(name, self._cloud(name))
        for run in self._ledger.runs():
            if not run.settled:
                yield from _whatever_comes(run.run_id, self._run(run))

    def _cloud(self, name: str) -> Iterator[Finding]:
        # A machine that is listed now has its reservation in the ledger already.
        for machine in list(self._opened(name).find({})):
            if machine.state is not MachineState.TERMINATED:
                yield from _whatever_comes(machine.id, self._machine(name, machine))

    def _machine(self, cloud: str, machine: Machine) -> Iterator[Finding]:
        run = self._ledger.run(machine.tags.get(RUN_TAG, ""))
        if run is None:
            yield Finding(
                Did.FOREIGN,
                machine.id,
                f"on {cloud}, of a run this ledger does not know: left alone",
            )
            return
        token = machine.tags.get(TOKEN_TAG)
        attempt = next((a for a in run.attempts if a.token == token), None)
        over = run.settled or attempt is None or attempt.ended_at is not None
        if attempt is not None and attempt is not run.attempts[-1]:
            over = True
        if over:
            yield self._end_orphan(cloud, machine, run)

    def _end_orphan(self, cloud: str, machine: Machine, run: Run) -> Finding:
        place = self._opened(cloud)
        until = self._clock.now() + timedelta(seconds=ORPHAN_PATIENCE_S)
        try:
            while True:
                place.terminate(machine.id)
                seen = place.status(machine.id)
                if seen is None or seen.state is MachineState.TERMINATED:
                    break
                if self._clock.now() > until:
                    return Finding(Did.UNREACHABLE, machine.id, f"on {cloud}: it does not end")
                self._clock.sleep(place.traits.poll_s)
        except CloudError as error:
            return Finding(Did.UNREACHABLE, machine.id, str(error))
        self._ledger.append(
            self._clock.now(), run.run_id, "noted", {"what": "orphan ended", "machine": machine.id}
        )
        return Finding(Did.ORPHAN_ENDED, machine.id, f"on {cloud}, left over from run {run.run_id}")

    def _run(self, run: Run) -> Iterator[Finding]:
        folder = RunFolder.of(self._state, run.run_id)
        other = self._elsewhere(run)
        if other is not None:
            yield Finding(Did.ELSEWHERE, run.run_id, f"{run.state}: {other}")
            return
        with folder.carried(wait=False) as ours:
            if not ours:
                who = folder.carrier() or "another process"
                yield Finding(Did.ATTENDED, run.run_id, f"{run.state}: {who} carries it")
                return
            secrets = self._to_go_on(run, folder)
            driver = Driver(
                self._ledger, self._opened, self._clock, folder, self._view, secrets, patient=False
            )
            while not run.settled:
                before, run = run, driver.advance(run.run_id)
                if before.state is run.state and run.state in _ON_A_MACHINE:
                    void = secrets is None and run.stop_requested in GOING_ON
                    if run.stop_requested and not void:
                        continue
                    yield _still_there(run)
                    return
                elif before == run and secrets is not None:
                    detail = "by its spot policy it waits for a machine"
                    yield Finding(Did.WAITING, run.run_id, detail)
                    return
        yield Finding(Did.SETTLED, run.run_id, f"{run.outcome}, {spent_words(run)} USD spent")

    def _elsewhere(self, run: Run) -> str | None:
        """What others of a team launched is on clouds that may not be set up here."""
        return elsewhere(run, RunFolder.of(self._state, run.run_id))

    def _to_go_on(self, run: Run, folder: RunFolder) -> dict[str, str] | None:
        """What it takes to launch machines of a run in place of who did: only where a spot policy
        says when, it had one before, and its secrets are at hand.
        """
        if not run.attempts:
            return None
        order = Order.load(folder.path, run.details["order_sha256"])
        return secrets_at_hand(order) if order.spot else None


def _still_there(run: Run) -> Finding:
    attempt = run.attempt
    if attempt.pending is not None:
        why = f", which says: {attempt.pending}" if attempt.pending else ""
        return Finding(Did.WAITING, run.run_id, f"in the queue of {attempt.cloud}{why}")
    by = f"ended by {attempt.kill_at:%Y-%m-%d %H:%M:%S} UTC at the latest"
    return Finding(Did.STILL_RUNNING, run.run_id, f"on {attempt.cloud}, {by}")


def _whatever_comes(what: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """What fails here, be it our own mistake, keeps nobody from what comes after it."""
    try:
        yield from findings
    except MlbrokerError as error:
        yield Finding(Did.UNREACHABLE, what, str(error))
    except Exception as error:
        yield Finding(Did.FAILED, what, f"{type(error).__name__}: {error}")
