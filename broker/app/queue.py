"""The queue as it is now: who waits where, since when, why, and until when most likely."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from socket import gethostname

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.interface import Cloud, holding_back
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.ledger import Ledger, Run, State, open_ledger
from mlbroker.broker.ledger.state import HELD, RAISED, RELEASED
from mlbroker.broker.queue.line import BY_HAND, Line, place_of
from mlbroker.broker.queue.terms import Terms, place_name, place_told
from mlbroker.broker.runs.admission import admission_of
from mlbroker.broker.runs.elsewhere import elsewhere, unattended
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import current_user
from mlbroker.broker.runs.order import Order
from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second
from mlbroker.policies.queue import POLICIES
from mlbroker.policies.queue.forecast import Forecast, forecast
from mlbroker.policies.queue.interface import Action, opportunity_usd_per_place_h
from mlbroker.pricing.vendors import vendor

ON_HOLD = "on hold"
NO_NODE = "its node is not in the nodes file"
# From the terminal to the process that carries the run on.
_TAKES_OVER = timedelta(seconds=10)
GONE = "its client is gone or suspended: mlbroker reconcile"
STOPPED = "asked to stop"
MUST_NOT = "its turn, but it must not start"
UNKNOWN = "nobody predicted how long they take"
_STARTS = {Action.START: "starts", Action.BURST: "leaves for the cloud"}


@dataclass(frozen=True, slots=True)
class Waiting:
    """One run of the queue. `position` counts from 1; None: on hold.

    `start_p50_at` and `start_p90_at` are when it starts most likely, and in nine cases of ten; None
    where that is unknown, `unpredicted` where only predictions lack. `captures_usd` is what its
    work on a place costs those who wait for one.
    """

    run: Run
    terms: Terms
    position: int | None
    reason: str
    start_p50_at: datetime | None = None
    start_p90_at: datetime | None = None
    captures_usd: Decimal | None = None
    unpredicted: bool = False

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "run_id": self.run.run_id,
            "job": self.run.job,
            "user": self.run.user,
            "team": self.terms.team,
            "position": self.position,
            "places": list(self.terms.places),
            "gang": self.terms.gang,
            "submitted_at": self.run.reserved_at.isoformat(timespec="milliseconds"),
            "deadline_at": self.run.details.get("deadline_at"),
            "value_usd_per_h": exact_usd(self.terms.value_usd_per_h),
            "yields": self.terms.yields,
            "on_hold": self.run.on_hold,
            "start_p50_at": self.start_p50_at and utc_second(self.start_p50_at),
            "start_p90_at": self.start_p90_at and utc_second(self.start_p90_at),
            "captures_usd": exact_usd_or_none(self.captures_usd),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Queue:
    """All who wait, in their order. `place_usd_per_h` is what an hour of one place costs them.

    `scheduled` wait too, in queues of their places' own.
    """

    waiting: tuple[Waiting, ...]
    running: tuple[Run, ...]
    pools: Mapping[str, int]
    place_usd_per_h: Decimal
    policy: str
    scheduled: tuple[Run, ...] = ()

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "schema": "mlbroker.queue/1",
            "policy": self.policy,
            "places": dict(self.pools),
            "running": [run.run_id for run in self.running],
            "place_usd_per_h": exact_usd(self.place_usd_per_h),
            "waiting": [each.document() for each in self.waiting],
            "scheduled": [
                {
                    "run_id": run.run_id,
                    "job": run.job,
                    "cloud": run.attempt.cloud,
                    "instance_type": run.attempt.instance_type,
                    "reason": run.attempt.pending,
                }
                for run in self.scheduled
            ],
        }


def queue_now(state: Path, now: datetime) -> Queue:
    """From the ledger; machines are not asked."""
    ledger = open_ledger(state)
    runs = ledger.open_runs()
    queued = [run for run in runs if run.state is State.QUEUED]
    pools = _pools(queued, runs, opener(state))
    left = unattended(runs, state)
    line = Line.at(pools, runs, now, unattended=left)
    busy = {each.job.id for each in line.site.running}
    told = {each.job_id: each for each in forecast(POLICIES[line.policy](), line.site)}
    waiting = [_waiting(run, line, told) for run in queued]
    waiting = [_really(each, line, ledger, state, now) for each in waiting]
    # Just now its terminal may be handing it over.
    gone = {r.run_id for r in queued if r.run_id in left and now - _moved(r) >= _TAKES_OVER}
    waiting = [replace(w, reason=GONE) if w.run.run_id in gone else w for w in waiting]
    waiting.sort(key=lambda each: (each.position is None, each.position, each.run.reserved_at))
    running = tuple(run for run in runs if run.run_id in busy)
    usd_per_h = _usd(opportunity_usd_per_place_h(line.site))
    scheduled = tuple(run for run in runs if is_scheduled(run))
    return Queue(tuple(waiting), running, pools, usd_per_h, line.policy, scheduled)


def others_usd_per_h(state: Path, cloud: str, machine: str) -> Decimal:
    """What an hour of a place there costs those who wait for one: its opportunity cost."""
    try:
        runs = open_ledger(state).open_runs()
    except MlbrokerError:
        return Decimal(0)  # a plan stands on none of it
    here = place_name(cloud, machine, gethostname())
    if not any(run.state is State.QUEUED and here in Terms.of(run).places for run in runs):
        return Decimal(0)
    line = Line.at({here: _places(opener(state), cloud, machine) or 1}, runs, datetime.now(UTC))
    return _usd(opportunity_usd_per_place_h(line.site))


def last_words(state: Path, run: Run) -> str | None:
    """What the process that carries the run in the background complained of last."""
    try:
        lines = RunFolder.of(state, run.run_id).complaints.read_text("utf-8", "replace").split("\n")
    except OSError:
        return None
    told = [line for line in lines if line.startswith("Warning: ")]
    return told[-1].removeprefix("Warning: ") if told else None


def is_scheduled(run: Run) -> bool:
    """Whether it waits in the queue of a place that has its own."""
    return run.state is State.CREATED and run.attempt.pending is not None


def change(state: Path, wanted: str, kind: str, now: datetime) -> Run:
    """Hold a run, release it, or put it before all others. InputError where it does not wait."""
    ledger = open_ledger(state)
    run = ledger.find(wanted)
    if is_scheduled(run):
        _change_there(opener(state)(run.attempt.cloud), run, kind)
        return run
    if run.state is not State.QUEUED:
        word = run.outcome or run.state
        raise InputError(f"run {run.run_id} does not wait: it is {word}")
    if kind == RELEASED and not run.on_hold:
        raise InputError(f"run {run.run_id} is not on hold")
    return ledger.append(now, run.run_id, kind, {"by": current_user()})


def _change_there(cloud: Cloud, run: Run, kind: str) -> None:
    """In its place's own queue, whose order is not ours."""
    holding = holding_back(cloud)
    name = vendor(run.attempt.cloud).name
    if kind == RAISED or holding is None:
        raise InputError(f"run {run.run_id} is in the queue of {name}, which has its own order")
    ask = holding.hold if kind == HELD else holding.release
    ask(run.attempt.machine_id or "")


CHANGES = {"hold": HELD, "release": RELEASED, "top": RAISED}


def _pools(queued: list[Run], runs: list[Run], opened: Callable[[str], Cloud]) -> dict[str, int]:
    names = {name for run in queued for name in Terms.of(run).places}
    names |= {place_of(run) for run in runs if run.state is not State.QUEUED}
    found = {}
    for name in sorted(names):
        cloud, machine, host = place_told(name)
        places = _places(opened, cloud, machine) if host in (None, gethostname()) else 1
        if places is not None:
            found[name] = places
    return found


def _places(opened: Callable[[str], Cloud], cloud: str, machine: str) -> int | None:
    """How many runs a machine takes at once; None where it has no places to wait for."""
    try:
        return opened(cloud).places(machine)
    except MlbrokerError:
        # Of another's nodes file: how many places it has is not known here.
        return 1


def _waiting(run: Run, line: Line, told: Mapping[str, Forecast]) -> Waiting:
    terms, forecast = Terms.of(run), told.get(run.run_id)
    if run.stop_requested:
        return Waiting(run, terms, None, STOPPED)
    if run.on_hold:
        return Waiting(run, terms, None, ON_HOLD)
    first = len(line.who(Action.START)) + 1
    if forecast is None or run.raised:
        decision = line.of(run.run_id)
        reason = decision.reason if decision else BY_HAND if run.raised else NO_NODE
        return Waiting(run, terms, 1 if decision else first + line.position(run.run_id), reason)
    how = _STARTS.get(forecast.action)
    reason = f"{how}: {forecast.reason}" if how else forecast.reason
    position = 1 if how else first + line.position(run.run_id)
    known = _known(run, line)
    return Waiting(
        run,
        terms,
        position,
        reason,
        _moment(forecast.start_p50_s) if known else None,
        _moment(forecast.start_p90_s) if known else None,
        _usd(forecast.captures_usd),
        unpredicted=not known,
    )


def _really(each: Waiting, line: Line, ledger: Ledger, state: Path, now: datetime) -> Waiting:
    """What would start but for a cap, or a policy file that cannot be read, is said to wait so."""
    decision, folder = line.of(each.run.run_id), RunFolder.of(state, each.run.run_id)
    if decision is None or each.run.stop_requested or elsewhere(each.run, folder):
        return each
    try:
        order = Order.load(folder.path, each.run.details["order_sha256"])
        usd = Decimal(each.run.details["reserved_usd"])
        why = ledger.judged(each.run.run_id, admission_of(order, each.run, usd), now).refusal
    except MlbrokerError as error:
        why = str(error)
    if why is None:
        return each
    return replace(each, reason=f"{MUST_NOT}: {why}", start_p50_at=None, start_p90_at=None)


def _moved(run: Run) -> datetime:
    return run.moved_at or run.reserved_at


def _known(run: Run, line: Line) -> bool:
    """Whether all that runs, and all that goes before, was predicted."""
    before = {*line.order[: line.position(run.run_id)], *(d.job_id for d in line.who(Action.START))}
    ahead = [job for job in line.site.waiting if job.id in before]
    return all(job.left_h is not None for job in [*ahead, *(r.job for r in line.site.running)])


def _moment(at_s: float | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)


def _usd(amount: float) -> Decimal:
    return Decimal(repr(round(amount, 4)))
