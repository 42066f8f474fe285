"""The queue as it is now: who waits where, since when, why, and until when most likely."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from socket import gethostname

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.ledger import Ledger, Run, State, open_ledger
from mlbroker.broker.ledger.state import HELD, RAISED, RELEASED
from mlbroker.broker.queue.line import Line, place_of
from mlbroker.broker.queue.terms import Terms, place_told
from mlbroker.broker.runs.launch import current_user
from mlbroker.broker.words import exact_usd
from mlbroker.policies.queue.interface import Action, opportunity_usd_per_place_h
from mlbroker.policies.queue.placing import Outlook

ON_HOLD = "on hold"
BEHIND = "others come first"
UNKNOWN = "nobody predicted how long they take"
_STARTS = {Action.START: "starts", Action.BURST: "leaves for the cloud"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One run of the queue. `position` counts from 1; None: on hold.

    `start_p50_at` and `start_p90_at` are when it starts most likely, and in nine cases of ten; None
    where that is unknown.
    """

    run: Run
    terms: Terms
    position: int | None
    reason: str
    start_p50_at: datetime | None
    start_p90_at: datetime | None

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "run_id": self.run.run_id,
            "job": self.run.job,
            "user": self.run.user,
            "team": self.terms.team,
            "position": self.position,
            "places": list(self.terms.places),
            "submitted_at": self.run.reserved_at.isoformat(timespec="milliseconds"),
            "deadline_at": self.run.details.get("deadline_at"),
            "value_usd_per_h": exact_usd(self.terms.value_usd_per_h),
            "yields": self.terms.yields,
            "on_hold": self.run.on_hold,
            "start_p50_at": _iso(self.start_p50_at),
            "start_p90_at": _iso(self.start_p90_at),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Queue:
    """All who wait, in their order. `place_usd_per_h` is what an hour of one place costs them."""

    waiting: tuple[Waiting, ...]
    running: tuple[Run, ...]
    pools: Mapping[str, int]
    place_usd_per_h: Decimal

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "schema": "mlbroker.queue/1",
            "places": dict(self.pools),
            "running": [run.run_id for run in self.running],
            "place_usd_per_h": exact_usd(self.place_usd_per_h),
            "waiting": [each.document() for each in self.waiting],
        }


def queue_now(state: Path, now: datetime) -> Queue:
    """From the ledger; machines are not asked."""
    runs = open_ledger(state).open_runs()
    queued = [run for run in runs if run.state is State.QUEUED]
    pools = _pools(queued, runs, opener(state))
    line = Line.at(pools, runs, now)
    busy = {each.job.id for each in line.site.running}
    starts = _starts(line, now)
    waiting = [_waiting(run, line, starts) for run in queued]
    waiting.sort(key=lambda each: (each.position is None, each.position, each.run.reserved_at))
    usd = Decimal(repr(opportunity_usd_per_place_h(line.site)))
    running = tuple(run for run in runs if run.run_id in busy)
    return Queue(tuple(waiting), running, pools, round(usd, 4))


def change(ledger: Ledger, wanted: str, kind: str, now: datetime) -> Run:
    """Hold a run, release it, or put it before all others. InputError where it does not wait."""
    run = ledger.find(wanted)
    if run.state is not State.QUEUED:
        state = run.outcome or run.state
        raise InputError(f"run {run.run_id} does not wait: it is {state}")
    if kind == RELEASED and not run.on_hold:
        raise InputError(f"run {run.run_id} is not on hold")
    return ledger.append(now, run.run_id, kind, {"by": current_user()})


CHANGES = {"hold": HELD, "release": RELEASED, "top": RAISED}


def _pools(queued: list[Run], runs: list[Run], opened: Callable[[str], Cloud]) -> dict[str, int]:
    names = {name for run in queued for name in Terms.of(run).places}
    names |= {place_of(run) for run in runs if run.state is not State.QUEUED}
    found = {}
    for name in sorted(names):
        cloud, machine, host = place_told(name)
        try:
            places = opened(cloud).places(machine) if host in (None, gethostname()) else 1
        except MlbrokerError:
            # Of another's nodes file: how many places it has is not known here.
            places = 1
        if places is not None:
            found[name] = places
    return found


def _starts(line: Line, now: datetime) -> dict[str, tuple[datetime | None, datetime | None]]:
    """By run: when it starts in one case of two, and in nine of ten."""
    jobs = {job.id: job for job in line.site.waiting}
    in_turn = [run_id for run_id in line.order if run_id in jobs]
    begins = [d.job_id for d in line.who(Action.START) if d.job_id in jobs]
    usual, late = Outlook(line.site), Outlook(line.site, cautious=True)
    found: dict[str, tuple[datetime | None, datetime | None]] = {}
    known = all(each.job.left_h is not None for each in line.site.running)
    for run_id in (*begins, *in_turn):
        hours = usual.put(jobs[run_id]), late.put(jobs[run_id])
        told = [now + timedelta(hours=h) if h is not None and known else None for h in hours]
        found[run_id] = told[0], told[1]
        # Behind one whose time nobody knows, nothing is known.
        known = known and jobs[run_id].left_h is not None
    return found


def _waiting(
    run: Run, line: Line, starts: Mapping[str, tuple[datetime | None, datetime | None]]
) -> Waiting:
    terms = Terms.of(run)
    usual, late = starts.get(run.run_id, (None, None))
    if run.on_hold:
        return Waiting(run, terms, None, ON_HOLD, None, None)
    decision = line.of(run.run_id)
    if decision is not None:
        how = _STARTS.get(decision.action, str(decision.action))
        return Waiting(run, terms, 1, f"{how}: {decision.reason}", usual, late)
    first = len(line.who(Action.START)) + 1
    return Waiting(run, terms, first + line.position(run.run_id), BEHIND, usual, late)


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
