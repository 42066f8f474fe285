"""Finds a run its next machine: the plan's next place, where it is free and the run's turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.errors import CloudError, InputError, RefusedError
from mlbroker.broker.ledger import Ledger, Run
from mlbroker.broker.runs.admission import admission_of
from mlbroker.broker.runs.asking import Asking
from mlbroker.broker.runs.clock import Clock, twice
from mlbroker.broker.runs.failover import next_option, outcome_of
from mlbroker.broker.runs.line import Line, place_name
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import WorstCase

if TYPE_CHECKING:
    from mlbroker.broker.runs.steering import Steering

POLL_S = 0.5
# Who stands far behind looks more rarely: the ledger has one answer at a time.
LONGEST_POLL_S = 10.0
# Who could start and does not is dead or suspended: after so long those behind it go first.
PASSED_OVER_S = 20.0
TAKEN = "all places of the machine are taken, or other runs come first: waiting for one"
NOT_NOW = "no spot machine is to be had, or worth it, now: waiting for one"


class Next(NamedTuple):
    """Where to launch, under which account, and the most that it may come to."""

    option: LaunchOption
    account: str
    worst: WorstCase


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
    ) -> None:
        self._ledger = ledger
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
        cloud = self._opened(option.cloud)
        try:
            account = self._ask.for_a_while(cloud.account)
            if cloud.places(option.instance_type) is not None:
                waits = self._no_turn(run, option, cloud)
                if waits is not None:
                    return waits
        except CloudError as error:
            return Over(outcome_of(run), str(error))
        left_usd = _whole_usd(run) - run.spent_usd
        worst = option.dearest.worst_case(left_usd, cloud.traits.kill_slack_s + order.guest_late_s)
        return Over("capped") if worst is None else Next(option, account, worst)

    def start(self, run: Run, order: Order, place: Next, intent: Mapping[str, Any]) -> Run | Waits:
        """Begin the attempt of a run that queued: its reservation and its intent are one."""
        now, at = self._clock.now(), place_name(place.option)
        try:
            admission = admission_of(order, run, now, _whole_usd(run))
            return self._ledger.start(
                now,
                run.run_id,
                intent,
                admission,
                lambda runs: self._line(runs, at, now).is_turn_of(run.run_id),
            )
        except (RefusedError, InputError) as error:
            # The caps may have room again when others are settled, or the month is over.
            return Waits(str(error), LONGEST_POLL_S)

    def _no_turn(self, run: Run, option: LaunchOption, cloud: Cloud) -> Waits | None:
        now, at = self._clock.now(), place_name(option)
        line = self._line(self._ledger.open_runs(), at, now)
        before = line.before(run.run_id)
        first = line.first
        poll_s = max(POLL_S, cloud.traits.poll_s)
        # Whoever is far behind need not ask the machine.
        if len(before) > 1:
            return Waits(TAKEN, min(LONGEST_POLL_S, poll_s * len(before)))
        ask = partial(cloud.has_room, option.instance_type)
        room = self._ask.for_a_while(ask) if self._asked else twice(ask, self._clock, self._warn)
        self._asked = True
        if not room:
            self._standing.clear()
            return Waits(TAKEN, poll_s)
        if not before:
            return None
        if first is not None and not line.starting:
            self._standing.setdefault((first.run_id, first.moved_at), now)
        return Waits(TAKEN, poll_s)

    def _line(self, runs: Sequence[Run], at: str, now: datetime) -> Line:
        since = timedelta(seconds=PASSED_OVER_S)
        still = {who for who, seen_at in self._standing.items() if now - seen_at >= since}
        return Line.at(at, [r for r in runs if (r.run_id, r.moved_at) not in still], now)


def _whole_usd(run: Run) -> Decimal:
    """What the run reserves of its caps, which it does not hold while it waits."""
    return Decimal(run.details["reserved_usd"])
