"""A run's state is the fold of its facts, and the facts say which step may come next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from mlbroker.broker.ledger.facts import Fact, senseless


class State(StrEnum):
    """Where a run stands. The names are the kinds of the facts that lead there."""

    QUEUED = "queued"
    RESERVED = "reserved"
    INTENDED = "intended"
    ARMED = "armed"
    CREATED = "created"
    CONFIRMED = "confirmed"
    BOOTSTRAPPED = "bootstrapped"
    RUNNING = "running"
    ENDED = "ended"
    COLLECTED = "collected"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    REFUSED = "refused"
    ABSENT = "absent"
    SETTLED = "settled"


_NEXT: dict[State | None, frozenset[State]] = {
    None: frozenset({State.QUEUED, State.RESERVED}),
    # It waits for a place and holds no money: what it may cost is reserved when it starts.
    State.QUEUED: frozenset({State.RESERVED, State.SETTLED}),
    State.RESERVED: frozenset({State.INTENDED, State.QUEUED, State.SETTLED}),
    State.INTENDED: frozenset({State.ARMED, State.REFUSED, State.ABSENT}),
    State.ARMED: frozenset({State.CREATED, State.REFUSED, State.ABSENT}),
    State.REFUSED: frozenset({State.ABSENT, State.CREATED}),
    State.CREATED: frozenset({State.CONFIRMED, State.ENDED, State.TERMINATING, State.TERMINATED}),
    State.CONFIRMED: frozenset({State.BOOTSTRAPPED, State.RUNNING, State.ENDED}),
    State.BOOTSTRAPPED: frozenset({State.RUNNING, State.ENDED}),
    State.RUNNING: frozenset({State.ENDED}),
    State.ENDED: frozenset({State.COLLECTED, State.TERMINATING, State.TERMINATED}),
    State.COLLECTED: frozenset({State.TERMINATING, State.TERMINATED}),
    State.TERMINATING: frozenset({State.TERMINATED}),
    # A new attempt begins only here: the old one is proved gone, or proved never to have been.
    State.TERMINATED: frozenset({State.INTENDED, State.QUEUED, State.SETTLED}),
    State.ABSENT: frozenset({State.INTENDED, State.QUEUED, State.SETTLED}),
    State.SETTLED: frozenset(),
}

# The kinds of facts that open a run.
OPENINGS = (State.QUEUED, State.RESERVED)
# Of a run that was opened by a clock behind that of runs before it.
COUNTS_AT = "counts_at"
# What the fact that opens a run tells for reports: what it is for, what was expected of it, and
# what the same had come to on the usual machine and on the best for rent (see `app.promise`).
PURPOSE, PREDICTION, BASELINE, RENTED = "purpose", "prediction", "baseline", "rented"
# Why a run is asked to stop for another that waits: it saves its checkpoint and queues again.
YIELD = "yield"
# Why a run is asked to stop so that it goes on with another batch, or on another machine, and the
# entry of that wish which says with which.
ADAPT, ADAPTS_TO = "adapt", "to"
# Of who is asked so, another attempt follows: void where nobody can launch it, and after a stop.
GOING_ON = frozenset({YIELD, ADAPT})
# What people say of a run in the queue: not now, as others, and before all others.
HELD, RELEASED, RAISED = "held", "released", "raised"
# And what its policy promises: it keeps its place until it is done.
PROMOTED = "promoted"
# Why a machine waits for its place to start it.
PENDING = "pending"
# Kinds that say something about a run without moving it.
NOTES = frozenset({"stop_requested", "disarmed", "noted", HELD, RELEASED, RAISED, PROMOTED})
# Kinds that belong to no run.
STANDALONE = frozenset({"approved", "approval_used"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at running the job on one machine. Times are None until observed.

    `predicted` is what was believed of its command's time at its launch, `figures` what its guest
    measured of it (see `guest_report.Figures`); where its time went and what it drew is in
    `seconds` and `energy` (see `footprint`). `at_most`: nobody tells when its machine ended, and
    the charge is the most that it can have cost. `pending`: its place has not started it yet, and
    says why; until then it costs nothing, and its life has not begun. `batch_size` (samples, over
    all machines) and `lr_scale` are what the job was told where one was chosen for this attempt.
    """

    number: int
    token: str
    cloud: str
    region: str
    zone: str | None
    instance_type: str
    market: str
    nodes: int
    price_per_hour_usd: Decimal
    intended_at: datetime
    kill_at: datetime
    worst_usd: Decimal
    account: str = ""
    machine_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    why: str | None = None
    exit_code: int | None = None
    detail: str | None = None
    rank: int | None = None
    made_nothing: bool = False
    missing: tuple[str, ...] = ()
    charged_usd: Decimal = Decimal(0)
    at_most: bool = False
    disarmed: bool = False
    predicted: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    seconds: Mapping[str, float | None] | None = None
    energy: Mapping[str, Any] | None = None
    pending: str | None = None
    batch_size: int | None = None
    lr_scale: float | None = None

    def stood_s(self, until: datetime) -> float:
        """For how long it may have cost something by then."""
        began = until if self.pending is not None else self.began_at
        return max(0.0, (until - began).total_seconds())

    def begun(self, at: datetime, kill_at: datetime | None = None) -> "Attempt":
        """As it is once its place started it: its life is as long as it was to be, or ends
        before, at `kill_at`.
        """
        if self.pending is None:
            return self
        due = at + (self.kill_at - self.intended_at)
        return replace(self, started_at=at, kill_at=min(due, kill_at or due), pending=None)

    @property
    def began_at(self) -> datetime:
        """From when on it may cost; the intent's time where the vendor told none."""
        return self.started_at or self.intended_at


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the ledger knows it. `reserved_usd` is what is still open.

    `on_hold` and `raised` say what people want of it in a queue: it is not to start, and the number
    of the fact that put it before all others, or 0. `promoted`: it keeps its place to the end.
    `moved_at` is when it came to its state. `adapts_to`: it is asked to go on with that batch on
    that machine (see `runs.adapting`), until the attempt that does.
    """

    run_id: str
    job: str
    user: str
    project: str | None
    state: State
    cap_usd: Decimal
    reserved_usd: Decimal
    reserved_at: datetime
    details: Mapping[str, Any]
    attempts: tuple[Attempt, ...] = ()
    stop_requested: str | None = None
    outcome: str | None = None
    exit_code: int | None = None
    settled_at: datetime | None = None
    detail: str | None = None
    on_hold: bool = False
    raised: int = 0
    promoted: bool = False
    moved_at: datetime | None = None
    adapts_to: Mapping[str, Any] | None = None

    @property
    def attempt(self) -> Attempt:
        """The latest attempt; there is one from `intended` on."""
        return self.attempts[-1]

    @property
    def spent_usd(self) -> Decimal:
        """What all attempts so far were charged."""
        return sum((a.charged_usd for a in self.attempts), Decimal(0))

    @property
    def spent_at_most(self) -> bool:
        """Whether some of it is the most that it can have cost, as nobody tells what it did."""
        return any(attempt.at_most for attempt in self.attempts)

    @property
    def held_usd(self) -> Decimal:
        """What it takes of its caps: until it is settled, all it may still come to cost."""
        return self.spent_usd if self.settled else max(self.reserved_usd, self.spent_usd)

    @property
    def counts_at(self) -> datetime:
        """The day and month whose caps it counts against: its own, or that of entries before it."""
        later = self.details.get(COUNTS_AT)
        return self.reserved_at if later is None else datetime.fromisoformat(later)

    @property
    def settled(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state is State.SETTLED


class IllegalStep(ValueError):
    """The fact cannot follow: another process moved the run on, or the caller is wrong."""


def fold(facts: Iterable[Fact]) -> Run | None:
    """The run after all its facts, in their order; None when there are none.

    LedgerError where one of them was damaged.
    """
    run: Run | None = None
    for fact in facts:
        try:
            run = step(run, fact)
        except IllegalStep:
            raise
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise senseless(fact.seq, error) from error
    return run


def step(run: Run | None, fact: Fact) -> Run:
    """The run after one more fact; raises IllegalStep when it cannot follow."""
    if fact.kind in NOTES:
        if run is None:
            raise IllegalStep(f"{fact.kind} for an unknown run")
        return _note(run, fact)
    try:
        state = State(fact.kind)
    except ValueError:
        raise IllegalStep(f"unknown kind of fact: {fact.kind}") from None
    if state not in _NEXT[run.state if run else None]:
        raise IllegalStep(f"{state} cannot follow {run.state if run else 'nothing'}")
    if run is None:
        return _opened(fact, state)
    return _move(run, state, fact)


def _opened(fact: Fact, state: State) -> Run:
    body = fact.body
    return Run(
        run_id=fact.run_id,
        job=body["job"],
        user=body["user"],
        project=body.get("project"),
        state=state,
        cap_usd=Decimal(body["cap_usd"]),
        reserved_usd=Decimal(0 if state is State.QUEUED else body["reserved_usd"]),
        reserved_at=fact.at,
        details=body,
        moved_at=fact.at,
    )


def _note(run: Run, fact: Fact) -> Run:
    if fact.kind == "stop_requested":
        why = fact.body["why"]
        # Late, it is void: what somebody asked for is for good, and who queues has no place.
        asked = run.stop_requested or run.state is not State.RUNNING
        void = why in GOING_ON and asked
        to = fact.body.get(ADAPTS_TO) if why == ADAPT else run.adapts_to
        return run if void else replace(run, stop_requested=why, adapts_to=to)
    if fact.kind == "disarmed":
        return _change(run, disarmed=True)
    if fact.kind in (HELD, RELEASED):
        return replace(run, on_hold=fact.kind == HELD)
    if fact.kind == RAISED:
        return replace(run, raised=fact.seq)
    if fact.kind == PROMOTED:
        return replace(run, promoted=True)
    if fact.kind == "noted" and PENDING in fact.body and run.state is State.CREATED:
        return _change(run, pending=fact.body[PENDING])
    return run


def _move(run: Run, state: State, fact: Fact) -> Run:
    body = fact.body
    run = replace(run, state=state, moved_at=fact.at)
    if state is State.QUEUED:
        # A wish to make room is fulfilled.
        wish = None if run.stop_requested == YIELD else run.stop_requested
        return replace(run, reserved_usd=Decimal(0), stop_requested=wish, promoted=False)
    if state is State.RESERVED:
        return _started(run, body)
    if state is State.INTENDED:
        # A wish to move to another machine is fulfilled by the attempt after it.
        wish = None if run.stop_requested in ("move", ADAPT) else run.stop_requested
        run = replace(run, promoted=bool(body.get(PROMOTED)))
        attempts = (*run.attempts, _intended(fact))
        return replace(run, attempts=attempts, stop_requested=wish, adapts_to=None)
    if state is State.CREATED:
        told = body.get("started_at")
        return _change(
            run,
            machine_id=body["machine_id"],
            started_at=None if told is None else datetime.fromisoformat(told),
            pending=body.get(PENDING),
        )
    if state is State.CONFIRMED:
        return _begun(run, body)
    if state is State.REFUSED:
        made_nothing = body.get("made_nothing", False)
        return _change(run, why=body["why"], detail=body.get("detail"), made_nothing=made_nothing)
    if state is State.ABSENT:
        # A machine that its vendor may have forgotten is charged all the same.
        return _change(
            run,
            why=run.attempt.why or body["why"],
            detail=body.get("detail") or run.attempt.detail,
            charged_usd=Decimal(body.get("charged_usd", 0)),
            at_most=body.get("at_most", False),
        )
    if state is State.ENDED:
        told = {name: body.get(name) for name in ("exit_code", "detail", "rank", "figures")}
        if body["why"] == ADAPT and run.adapts_to is not None:
            told["detail"] = run.adapts_to["reason"]
        return _change(run, why=body["why"], **told)
    if state is State.COLLECTED:
        return _change(run, missing=tuple(body.get("missing", ())))
    if state is State.TERMINATED:
        run = _begun(run, body)
        return _change(
            run,
            why=run.attempt.why or body["why"],
            ended_at=datetime.fromisoformat(body["ended_at"]),
            charged_usd=Decimal(body["charged_usd"]),
            at_most=body.get("at_most", False),
            seconds=body.get("seconds"),
            energy=body.get("energy"),
        )
    if state is State.SETTLED:
        return replace(
            run,
            reserved_usd=Decimal(0),
            outcome=body["outcome"],
            exit_code=body.get("exit_code"),
            settled_at=fact.at,
            detail=body.get("detail"),
        )
    return run


def _started(run: Run, body: Mapping[str, Any]) -> Run:
    """After its wait. What it came to before counts where it did."""
    details = run.details
    if not run.attempts and COUNTS_AT in body:
        details = {**details, COUNTS_AT: body[COUNTS_AT]}
    return replace(run, reserved_usd=Decimal(body["reserved_usd"]), details=details)


def _begun(run: Run, body: Mapping[str, Any]) -> Run:
    """What waited for its place to start it, and was."""
    if "began_at" not in body:
        return run
    began, kill = (datetime.fromisoformat(body[name]) for name in ("began_at", "kill_at"))
    return replace(run, attempts=(*run.attempts[:-1], run.attempt.begun(began, kill)))


def _intended(fact: Fact) -> Attempt:
    body = fact.body
    return Attempt(
        number=body["attempt"],
        token=body["token"],
        cloud=body["cloud"],
        region=body["region"],
        zone=body.get("zone"),
        instance_type=body["instance_type"],
        market=body["market"],
        nodes=body["nodes"],
        price_per_hour_usd=Decimal(body["price_per_hour_usd"]),
        intended_at=fact.at,
        kill_at=datetime.fromisoformat(body["kill_at"]),
        worst_usd=Decimal(body["worst_usd"]),
        account=body.get("account", ""),
        predicted=body.get("predicted"),
        batch_size=body.get("batch_size"),
        lr_scale=body.get("lr_scale"),
    )


def _change(run: Run, **changes: Any) -> Run:
    if not run.attempts:
        raise IllegalStep("the run has no attempt yet")
    return replace(run, attempts=(*run.attempts[:-1], replace(run.attempt, **changes)))
