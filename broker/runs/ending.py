"""The end of an attempt's machine: asked for until it was seen, and when it was, for the books."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from mlbroker.broker.clouds.interface import Machine, MachineState, Traits, Unclear
from mlbroker.broker.ledger import Attempt, Ledger, Run, State
from mlbroker.broker.runs.clock import Clock
from mlbroker.pricing.vendors import vendor

# A terminate call that was accepted and came to nothing is repeated this often.
INSIST_EVERY_S = 20.0
# One machine that does not end keeps nobody longer than this from the runs after it.
STUBBORN_S = 300.0
# Who saw it alive so shortly before it was gone knows when it ended.
RECENT_S = 60.0


class Gone(NamedTuple):
    """When a machine ended; `at_most`: nobody tells, and it was no later than that.

    `began_at` is what the machine's place says of its start, if it is still asked at the end.
    """

    at: datetime
    at_most: bool
    began_at: datetime | None = None

    def fact(self) -> dict[str, Any]:
        """As the ledger has it."""
        return {"ended_at": self.at.isoformat(), "at_most": self.at_most}


def until_gone(
    attempt: Attempt,
    look: Callable[[], Machine | None],
    insist: Callable[[], None],
    traits: Traits,
    clock: Clock,
    patient: bool,
) -> Gone:
    """Wait for the end, and say when it was. An accepted call is no end, nor a moment's absence.

    Unclear when it does not come, for those who have other runs to look after (not `patient`).
    """
    began = clock.now()
    insist_at = began + timedelta(seconds=INSIST_EVERY_S)
    # Where nobody tells when it ended, the kill switch says by when at the latest.
    latest = attempt.kill_at + timedelta(seconds=traits.kill_slack_s)
    unseen_since: datetime | None = None
    seen_alive = False
    while True:
        machine = look()
        now = clock.now()
        if machine is not None and machine.state is MachineState.TERMINATED:
            if machine.started_at is not None:
                due = attempt.begun(machine.started_at).kill_at
                latest = max(latest, due + timedelta(seconds=traits.kill_slack_s))
            told = machine.ended_at is not None or seen_alive
            return Gone(machine.ended_at or min(now, latest), not told, machine.started_at)
        if machine is None:
            unseen_since = unseen_since or now
            if now - unseen_since >= timedelta(seconds=traits.visible_after_s):
                return Gone(min(unseen_since, latest), at_most=not seen_alive)
        else:
            unseen_since, seen_alive = None, True
            latest = max(latest, now)
            if not patient and now - began > timedelta(seconds=STUBBORN_S):
                raise Unclear("it does not end", where=attempt.machine_id)
            if now >= insist_at:
                insist()
                insist_at = now + timedelta(seconds=INSIST_EVERY_S)
        clock.sleep(traits.poll_s)


def why_gone(run: Run, machine: Machine | None, now: datetime) -> str:
    """Why a machine went that did not say how its job ended."""
    if now >= run.attempt.kill_at:
        return "capped"
    if run.stop_requested:
        return run.stop_requested
    return "preempted" if machine and machine.preempted else "lost"


class LastAlive:
    """When attempts were last seen alive, by our own clock.

    On one's own machines the end is told by a file that the job may write: it is never taken for
    earlier than this.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: dict[str, datetime] = {}

    def saw(self, run: Run, at: datetime) -> None:
        """Its machine was asked at this time, and lived."""
        self._seen[run.attempt.token] = at

    def bound(self, run: Run, gone: Gone) -> Gone:
        """That end, or a later time at which it was seen: here, or by who wrote the ledger."""
        attempt = run.attempt
        last = self._seen.get(attempt.token)
        if gone.at_most and last and gone.at - last <= timedelta(seconds=RECENT_S):
            gone = gone._replace(at_most=False)
        if not vendor(attempt.cloud).own:
            return gone
        facts = self._ledger.facts(run.run_id)
        moved = [fact.at for fact in facts if fact.kind in (State.BOOTSTRAPPED, State.RUNNING)]
        seen = [*moved, self._seen.get(attempt.token, attempt.intended_at)]
        at = max(gone.at, *(at for at in seen if at >= attempt.intended_at))
        return gone._replace(at=at)
