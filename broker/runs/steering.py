"""Which machine a run on spot should be on now: its policy, asked with what ledger and clock say.

A zone is asked for by launching in it: one that refused, or took its machine back, counts as down
until it is worth asking again. Whatever the policy wishes, the shells see to deadline and budget.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Self

from mlbroker.broker.clouds.guest_report import Figures, figures_of
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.guest.box import CHECKPOINT
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.programmes import Programmes
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.failover import ever_to_be_had
from mlbroker.broker.runs.forecast import Live
from mlbroker.broker.runs.order import (
    LaunchOption,
    Order,
    SpotTerms,
    ZoneRecord,
    place_of,
    zone_name,
)
from mlbroker.broker.runs.spot_past import TAKEN
from mlbroker.broker.runs.spot_prices import SpotPrices
from mlbroker.policies.spot import policy_named
from mlbroker.policies.spot.hazards import (
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    UNKNOWN_AGE_H,
    Record,
    expected_events,
)
from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, Terms, View, Zone
from mlbroker.policies.spot.programme import Solver, solve
from mlbroker.policies.spot.shells import held, last_call
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.offer import Market

HOUR_S = 3600.0
# A zone that refused is asked again once it has been down for half as long again.
_AGAIN = 0.5
_DOWN = TAKEN | {"no_capacity"}
# What a job's own pace says is heeded once it did this share of its work.
_SEEN_SHARE = 0.05
_LEAST_POINTS = 3


class Stand(NamedTuple):
    """How far a run is: hours of work left, now and from its last checkpoint on."""

    left_h: float
    saved_left_h: float


class Steering:
    """Asks the policy of one run. Holds nothing that the ledger or the order does not."""

    def __init__(
        self,
        order: Order,
        spot: SpotTerms,
        bill_now: Callable[[LaunchOption], Bill | None] = lambda option: option.bill,
        solver: Solver = solve,
    ) -> None:
        """`bill_now` of a spot option; None while it costs more than may be paid."""
        self._order = order
        self._bill_now = bill_now
        self._spot = spot
        self._policy = policy_named(spot.policy, solver)
        self._asked_at: datetime | None = None

    @classmethod
    def of(cls, order: Order, opened: Callable[[str], Cloud], clock: Clock, home: Path) -> Self:
        """Of a living run, which has a policy, at prices of today."""
        assert order.spot is not None
        return cls(order, order.spot, SpotPrices(opened, clock), Programmes(home))

    def next_place(self, run: Run, now: datetime) -> LaunchOption | None:
        """Where to launch, of a run that has no machine; None is to wait for a look."""
        options = self._spot_options(run)
        if not options:
            return self._on_demand(run, now)
        view = self._view(run, now, None)
        wish = held(self._policy.decide(view), view)
        if wish >= 0:
            return options[wish]
        if wish == WAIT:
            return None
        up = [number for number, zone in enumerate(view.zones) if zone.up]
        # With nothing to be had on demand either, whatever works is nearer to the deadline.
        return self._on_demand(run, now) or (options[up[0]] if up else None)

    def leaves(self, run: Run, now: datetime, live: Live | None) -> bool:
        """Whether the machine that the run has should be left; asked once a look of the policy."""
        due = self._asked_at is None or now >= self._asked_at + timedelta(hours=self._spot.tick_h)
        unseen = live is None and run.state is State.RUNNING
        if not due or unseen or not self._spot_options(run):
            return False
        self._asked_at = now
        view = self._view(run, now, live)
        if view.on >= 0 and last_call(view, self._boots_for_h(run, now)):
            return True
        return held(self._policy.decide(view), view) != view.on

    @property
    def look_s(self) -> float:
        """Seconds between two looks of the policy."""
        return self._spot.tick_h * HOUR_S

    def late_h(self, run: Run, now: datetime) -> float:
        """By how much the deadline is missed if a machine is asked for right now; 0: it is not."""
        view = self._view(run, now, None)
        return max(0.0, view.work_left_h + self._spot.restart_h - view.time_left_h)

    def _view(self, run: Run, now: datetime, live: Live | None) -> View:
        stand = self._stand(run, now, live)
        lives = bool(run.attempts) and _lives(run.attempt)
        on, boot_left_h = WAIT, 0.0
        options = self._spot_options(run)
        if lives:
            places = [place_of(option) for option in options]
            here = place_of(run.attempt)
            on = places.index(here) if here in places else ON_DEMAND
            if run.state is not State.RUNNING:
                boot_left_h = max(0.0, self._spot.restart_h - self._boots_for_h(run, now))
        launched = [a for a in run.attempts if a.machine_id is not None]
        return View(
            terms=self._terms(run),
            zones=[self._zone(run, option, now) for option in options],
            time_left_h=self._hours_to_deadline(now),
            work_left_h=stand.left_h,
            saved_left_h=stand.saved_left_h,
            spent_usd=float(run.spent_usd) + (self._running_usd(run, now) if lives else 0.0),
            on=on,
            boot_left_h=boot_left_h,
            region=launched[-1].region if launched else None,
        )

    def _terms(self, run: Run) -> Terms:
        spot = self._spot
        dear = [o.dearest for o in self._order.candidates if not _is_spot(o)]
        hourly_usd = [float(bill.usd_per_hour) for bill in dear]
        reserved_at = run.reserved_at
        return Terms(
            work_h=spot.work_h,
            deadline_h=self._hours_to_deadline(reserved_at),
            on_demand_usd_per_h=min(hourly_usd),
            restart_h=spot.restart_h,
            tick_h=spot.tick_h,
            lost_h=spot.lost_h,
            budget_usd=float(run.reserved_usd - self._allowance_usd(run)),
            overlaps=False,
            # The checkpoint goes by home with every machine: no region is further than a zone.
            once_usd=max(map(_once_usd, dear)),
            dearest_usd_per_h=max(hourly_usd),
        )

    def _allowance_usd(self, run: Run) -> Decimal:
        """What of the reservation is no machine's, at the dearest place."""
        ways = [option.home for option in self._order.candidates if option.home is not None]
        return max((way.allowance_usd(run.reserved_usd) for way in ways), default=Decimal(0))

    def _stand(self, run: Run, now: datetime, live: Live | None) -> Stand:
        """By its own pace where that was seen for long enough; else from the command's seconds."""
        lives = bool(run.attempts) and _lives(run.attempt)
        left, lost_h = self._spot.work_h, self._spot.lost_h
        for attempt in run.attempts[:-1] if lives else run.attempts:
            told = figures_of(attempt.figures)
            if told is None:
                continue
            # One that was taken may have saved as it was told so; nobody relies on it.
            kept = attempt.why == "move" and CHECKPOINT not in attempt.missing
            lost = 0.0 if kept else min(lost_h, told.command_s / HOUR_S)
            left = self._less(left, told.command_s / HOUR_S, _paced_left_h(told)) + lost
        if not lives or live is None:
            return Stand(left, left)
        now_left = self._less(left, live.worked_h, live.left_h)
        return Stand(now_left, max(now_left, min(left, now_left + lost_h)))

    def _less(self, left_h: float, worked_h: float, paced_left_h: float | None) -> float:
        """The work that is left after so much more of it; never none while there is no end."""
        least_h = self._spot.tick_h
        if paced_left_h is not None and worked_h >= _SEEN_SHARE * self._spot.work_h:
            return max(least_h, paced_left_h)
        return max(least_h, left_h - worked_h)

    def _zone(self, run: Run, option: LaunchOption, now: datetime) -> Zone:
        """As the run itself has seen it."""
        place, up, since_h = place_of(option), True, UNKNOWN_AGE_H
        known = self._spot.zones.get(zone_name(option), ZoneRecord())
        preempted, recovered = Record(*known.preempted), Record(*known.recovered)
        first_no: datetime | None = None
        for attempt in run.attempts:
            if place_of(attempt) != place:
                continue
            if attempt.machine_id is not None:
                if first_no is not None:
                    recovered.events += 1
                    age_h = _hours(attempt.intended_at - first_no)
                    recovered.expected += expected_events(RECOVERIES_PER_H, 0.0, age_h)
                    first_no = None
                until = attempt.ended_at or now
                lived_h = _hours(until - attempt.began_at)
                preempted.expected += expected_events(PREEMPTIONS_PER_H, 0.0, lived_h)
                up, since_h = True, _hours(now - attempt.began_at)
            if attempt.why in _DOWN:
                preempted.events += attempt.why in TAKEN
                no_at = attempt.ended_at or attempt.intended_at
                first_no = first_no or no_at
                again_h = max(self._spot.tick_h, _AGAIN * _hours(no_at - first_no))
                up, since_h = _hours(now - no_at) >= again_h, _hours(now - first_no)
                if up:
                    # Nobody knows. If it is back, then at any time since.
                    since_h = _hours(now - no_at) / 2
        bill = self._bill_now(option)
        # Where its machine lives there is one, whatever the next would cost.
        lives = bool(run.attempts) and _lives(run.attempt) and place_of(run.attempt) == place
        return Zone(
            name=zone_name(option),
            region=option.region,
            up=lives or (up and bill is not None),
            price_usd_per_h=float((bill or option.dearest).usd_per_hour),
            since_h=since_h,
            preempted=preempted,
            recovered=recovered,
            once_usd=_once_usd(option.bill),
        )

    def _on_demand(self, run: Run, now: datetime) -> LaunchOption | None:
        """The first that has not just said no."""
        options = [option for option in self._asked_for(run) if not _is_spot(option)]
        refused = {
            place_of(attempt): attempt.intended_at
            for attempt in run.attempts
            if attempt.machine_id is None
        }
        again = timedelta(hours=self._spot.tick_h)
        for option in options:
            no_at = refused.get(place_of(option))
            if no_at is None or now - no_at >= again:
                return option
        return None

    def _spot_options(self, run: Run) -> list[LaunchOption]:
        return [option for option in self._asked_for(run) if _is_spot(option)]

    def _asked_for(self, run: Run) -> Sequence[LaunchOption]:
        """All but those that will not be had in this run."""
        return ever_to_be_had(run, self._order)

    def _running_usd(self, run: Run, now: datetime) -> float:
        bill = self._order.candidate(run.attempt).bill
        return float(bill.usd_per_hour) * _hours(now - run.attempt.began_at) + _once_usd(bill)

    def _boots_for_h(self, run: Run, now: datetime) -> float:
        """Since when a machine is waited for that does not work yet; 0 where it works."""
        if run.state is State.RUNNING:
            return 0.0
        return _hours(now - run.attempt.intended_at)

    def _hours_to_deadline(self, now: datetime) -> float:
        assert self._order.deadline_at is not None, "a spot policy is one of a deadline"
        return _hours(datetime.fromisoformat(self._order.deadline_at) - now)


def _lives(attempt: Attempt) -> bool:
    return attempt.why is None and attempt.ended_at is None


def _paced_left_h(told: Figures) -> float | None:
    """Hours left of the command by the steps that were seen of it."""
    if told.steps is None or len(told.points) < _LEAST_POINTS:
        return None
    (first, began_s), (last, until_s) = told.points[0], told.points[-1]
    if last <= first or until_s <= began_s:
        return None
    return max(0, told.steps - last) * (until_s - began_s) / (last - first) / HOUR_S


def _once_usd(bill: Bill) -> float:
    """What a machine costs beside its hours."""
    return float(bill.once_usd + bill.requests_once_usd * bill.nodes)


def _is_spot(option: LaunchOption) -> bool:
    return option.market == Market.SPOT


def _hours(span: timedelta) -> float:
    return span.total_seconds() / HOUR_S
