"""Finds a run its next machine: the plan's next place, where it is free and the run's turn."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.broker.clouds.interface import Cloud, Unclear
from mlbroker.broker.errors import CloudError, InputError, RefusedError
from mlbroker.broker.ledger import Ledger, Run, State
from mlbroker.broker.ledger.state import PROMOTED, YIELD
from mlbroker.broker.queue.terms import QUEUE, Terms, place_name
from mlbroker.broker.runs.admission import admission_of
from mlbroker.broker.runs.asking import Asking
from mlbroker.broker.runs.clock import Clock, twice
from mlbroker.broker.runs.elsewhere import elsewhere, unattended
from mlbroker.broker.runs.failover import next_option, outcome_of
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption, Order, as_told, place_of
from mlbroker.pricing.billing import WorstCase
from mlbroker.pricing.vendors import vendor

if TYPE_CHECKING:
    from mlbroker.broker.queue.line import Line
    from mlbroker.broker.runs.steering import Steering
    from mlbroker.policies.queue.interface import Cloud as Rent

POLL_S = 0.5
# Who stands far behind looks more rarely: the ledger has one answer at a time.
LONGEST_POLL_S = 10.0
# Who could start and does not is dead or suspended: after so long those behind it go first.
PASSED_OVER_S = 20.0
TAKEN = "all places of the machine are taken, or other runs come first: waiting for one"
NOT_NOW = "no spot machine is to be had, or worth it, now: waiting for one"
# Until a rented machine works: what a plan takes where nobody measured.
_RENT_SETUP_H = 0.1


class Next(NamedTuple):
    """Where to launch, under which account, and the most that it may come to.

    `promoted`: of a queue's run that keeps its place to the end, for its deadline.
    """

    option: LaunchOption
    account: str
    worst: WorstCase
    promoted: bool = False


@dataclass(frozen=True, slots=True)
class Waits:
    """No machine for a while. In the queue it holds no money meanwhile."""

    why: str
    seconds: float
    in_queue: bool = True


@dataclass(frozen=True, slots=True)
class Over:
    """There will be none."""

    outcome: str
    detail: str | None = None


class Placing:
    """For the runs of one driver. Remembers whom it has seen standing still at a free place."""

    def __init__(
        self,
        ledger: Ledger,
        opened: Callable[[str], Cloud],
        clock: Clock,
        ask: Asking,
        warn: Callable[[str], None],
        home: Path,
    ) -> None:
        self._ledger = ledger
        self._home = home
        self._opened = opened
        self._clock = clock
        self._ask = ask
        self._warn = warn
        self._asked = False
        self._standing: dict[tuple[str, datetime | None], datetime] = {}

    def next(self, run: Run, order: Order, steering: "Steering | None") -> Next | Waits | Over:
        """The run's next machine, or why there is none now, or ever."""
        if steering is None:
            option = next_option(run, order, lambda name: self._opened(name).traits.queues)
        else:
            option = steering.next_place(run, self._clock.now())
            if option is None:
                return Waits(NOT_NOW, steering.look_s, in_queue=False)
        if option is None:
            return Over(outcome_of(run))
        promoted = False
        try:
            if self._queues(run, option):
                if run.state is not State.RESERVED:
                    turn = self._turn(run, order)
                    if isinstance(turn, Waits):
                        return turn
                    option, promoted = turn
                elif not self._room(option):
                    # When it was opened there was room, and nobody before it.
                    return Waits(TAKEN, POLL_S)
            cloud = self._opened(option.cloud)
            account = self._account(cloud)
        except (CloudError, InputError) as error:
            if run.state is State.QUEUED:
                return Waits(str(error), LONGEST_POLL_S)
            if isinstance(error, InputError):
                raise
            return Over(outcome_of(run), str(error))
        option = as_told(run, option)
        left_usd = _whole_usd(run) - run.spent_usd
        traits = cloud.traits
        slack_s = traits.kill_slack_s + order.guest_late_s
        worst = option.worst_case(left_usd, slack_s, traits.lifetime_step_s)
        return Over("capped") if worst is None else Next(option, account, worst, promoted)

    def start(self, run: Run, order: Order, place: Next, intent: Mapping[str, Any]) -> Run | Waits:
        """Begin the attempt of a run that queued: its reservation and its intent are one."""
        now, at = self._clock.now(), name_of(place.option)

        def turn(runs: Sequence[Run]) -> bool:
            if not vendor(place.option.cloud).own:
                return True
            # Where no cap has room for renting it was decided without.
            return any(
                self._line(pools, runs, run, order, now, rent).starts_at(run.run_id) == at
                for rent in dict.fromkeys((_rent(run, order), None))
            )

        try:
            pools = self._pools(order)
            admission = admission_of(order, run, _whole_usd(run))
            promise = {PROMOTED: True} if place.promoted else {}
            return self._ledger.start(now, run.run_id, {**intent, **promise}, admission, turn)
        except (RefusedError, InputError) as error:
            # The caps may have room again when others are settled, or the month is over.
            return Waits(str(error), LONGEST_POLL_S)

    def _queues(self, run: Run, option: LaunchOption) -> bool:
        """Whether the machine takes a number of jobs; InputError where it did, and is gone."""
        if self._opened(option.cloud).places(option.instance_type) is not None:
            return True
        told = QUEUE in run.details and name_of(option) in Terms.of(run).places
        if told and vendor(option.cloud).own:
            raise InputError(
                f"{option.instance_type} is no node of the nodes file any more: waiting for it",
                hint=f"Put it back, or: mlbroker stop {run.run_id}",
            )
        return False

    def _turn(self, run: Run, order: Order) -> tuple[LaunchOption, bool] | Waits:
        """Where the run goes now by the queue's policy, and whether it keeps that place."""
        from mlbroker.policies.queue.interface import Action

        now, pools = self._clock.now(), self._pools(order)
        runs = self._ledger.open_runs()
        line = self._line(pools, runs, run, order, now, _rent(run, order))
        decision = line.of(run.run_id)
        if decision is not None and decision.action is Action.BURST:
            admission = admission_of(order, run, _whole_usd(run))
            if self._ledger.judged(run.run_id, admission, now).refusal is None:
                self._warn(f"it leaves for a rented machine: {decision.reason}")
                return _rented(run, order)[0], False
            # A month's cap is full, its own or its team's: then a place here is all it can get.
            line = self._line(pools, runs, run, order, now)
            decision = line.of(run.run_id)
        own = {name_of(option): option for option in order.candidates if name_of(option) in pools}
        poll_s = max(POLL_S, *(self._opened(o.cloud).traits.poll_s for o in own.values()))
        for kept in line.who(Action.KEEP):
            self._ledger.append(now, kept.job_id, PROMOTED, {"why": kept.reason})
        at = line.starts_at(run.run_id)
        if at is not None:
            if self._room(own[at]):
                return own[at], decision is not None and decision.promoted
            for victim in line.who(Action.YIELD):
                if victim.pool == at:
                    wish = {"why": YIELD, "by": "queue", "for": run.run_id, "detail": victim.reason}
                    self._ledger.append(now, victim.job_id, "stop_requested", wish)
            return Waits(TAKEN, poll_s)
        behind = line.position(run.run_id)
        ahead = [d for d in line.who(Action.START) if d.pool in own and d.job_id != run.run_id]
        if behind == 0 and ahead and not line.starting and self._room(own[str(ahead[0].pool)]):
            moved = {other.run_id: other.moved_at for other in runs}
            first = ahead[0].job_id
            self._standing.setdefault((first, moved.get(first)), now)
        return Waits(TAKEN, min(LONGEST_POLL_S, poll_s * (1 + behind)))

    def _account(self, cloud: Cloud) -> str:
        try:
            return cloud.account()
        except Unclear as error:
            self._warn(f"{error}: asking again for a while")
            return self._ask.for_a_while(cloud.account)

    def _room(self, option: LaunchOption) -> bool:
        """Whether the machine says so too: others may use it who do not share this ledger."""
        ask = partial(self._opened(option.cloud).has_room, option.instance_type, option.places)
        room = self._ask.for_a_while(ask) if self._asked else twice(ask, self._clock, self._warn)
        self._asked = True
        return room

    def _pools(self, order: Order) -> dict[str, int]:
        return pools_of(order.candidates, self._opened)

    def _line(
        self,
        pools: Mapping[str, int],
        runs: Sequence[Run],
        run: Run,
        order: Order,
        now: datetime,
        rent: "Rent | None" = None,
    ) -> "Line":
        # Most runs never queue: nothing of it is imported for them.
        from mlbroker.broker.queue.line import Line

        since = timedelta(seconds=PASSED_OVER_S)
        still = {who for who, seen_at in self._standing.items() if now - seen_at >= since}
        there = [each for each in runs if (each.run_id, each.moved_at) not in still]
        # Who queues has no place to leave.
        left = unattended((r for r in there if r.state is not State.QUEUED), self._home)
        return Line.at(pools, there, now, rent, unattended=left)


def name_of(option: LaunchOption) -> str:
    """A machine, as the runs that wait for it call it."""
    return place_name(option.cloud, option.instance_type, socket.gethostname())


def pools_of(options: Sequence[LaunchOption], opened: Callable[[str], Cloud]) -> dict[str, int]:
    """Of the machines that take so many jobs at a time, how many."""
    own = [option for option in options if vendor(option.cloud).own]
    told = {name_of(option): opened(option.cloud).places(option.instance_type) for option in own}
    return {name: places for name, places in told.items() if places is not None}


def waits_at(
    options: Sequence[LaunchOption], opened: Callable[[str], Cloud], home: Path, now: datetime
) -> Callable[[Sequence[Run]], bool] | None:
    """Whether a run that is about to be opened has to queue, given the open ones; None where its
    first machine takes any number of jobs, or is a vendor's.
    """
    first, cloud = options[0], opened(options[0].cloud)
    if cloud.places(first.instance_type) is None:
        return None
    try:
        room = cloud.has_room(first.instance_type, first.places)
    except CloudError:
        # Whoever carries it asks again, and says what is wrong.
        room = True

    pools = pools_of(options[:1], opened)

    def waits(runs: Sequence[Run]) -> bool:
        from mlbroker.broker.queue.line import Line

        line = Line.at(pools, runs, now)
        # What was launched from here the machine knows itself; of a team's others it may not.
        there = {each.job.id for each in line.site.running}
        away = any(
            run.run_id in there and elsewhere(run, RunFolder.of(home, run.run_id)) for run in runs
        )
        busy = sum(each.job.places for each in line.site.running)
        taken = away and busy + first.places > sum(pools.values())
        return not room or taken or bool(line.starting or line.changes or line.order)

    return waits


def _rented(run: Run, order: Order) -> list[LaunchOption]:
    """The machines to rent, in the plan's order, that did not say no yet."""
    refused = {place_of(attempt) for attempt in run.attempts if attempt.machine_id is None}
    rented = (option for option in order.candidates if not vendor(option.cloud).own)
    return [option for option in rented if place_of(option) not in refused]


def _rent(run: Run, order: Order) -> "Rent | None":
    """What renting in place of waiting would cost this run."""
    from mlbroker.policies.queue.interface import Cloud as Rent

    rented = _rented(run, order)
    return Rent(float(rented[0].bill.usd_per_hour), _RENT_SETUP_H) if rented else None


def _whole_usd(run: Run) -> Decimal:
    """What the run reserves of its caps, which it does not hold while it waits."""
    return Decimal(run.details["reserved_usd"])
