"""What a run's spot policy is told of it: pure values from the ledger's facts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from mlbroker.broker.ledger import Fact, Run
from mlbroker.broker.ledger.state import fold
from mlbroker.broker.runs.failover import goes_on
from mlbroker.broker.runs.forecast import Live
from mlbroker.broker.runs.order import LaunchOption, Order, SpotTerms, place_of
from mlbroker.broker.runs.steering import Steering
from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.interface import WAIT, View
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import vendor

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TERMS = SpotTerms("greedy", work_h=4, restart_h=0.1, tick_h=1 / 60, lost_h=0.25)


def option(zone: str, market: str, usd: int) -> LaunchOption:
    most = Decimal(4) if market == "spot" else None
    bill = Bill(Decimal(usd), 1, vendor("sim").meter)
    return LaunchOption("sim", "r", "gpu", market, bill, zone=zone, max_price_per_hour_usd=most)


A, B, DEMAND = option("a", "spot", 1), option("b", "spot", 2), option("a", "on_demand", 4)
ORDER = Order(
    "r1", "job", (A, B, DEMAND), {}, spot=TERMS,
    deadline_at=(NOW + timedelta(hours=10)).isoformat(),
)  # fmt: skip


class Told:
    """A policy that keeps what it sees, and stays."""

    def __init__(self) -> None:
        self.views: list[View] = []

    def decide(self, view: View) -> int:
        self.views.append(view)
        return view.on


class History:
    """A run's facts, hours after its beginning."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.attempts = 0
        self.add(0, "reserved", job="job", user="u", cap_usd="50", reserved_usd="50")

    def add(self, at_h: float, kind: str, **body: Any) -> "History":
        at = NOW + timedelta(hours=at_h)
        self.facts.append(Fact(len(self.facts) + 1, at, "r1", kind, body, ""))
        return self

    def asked(self, at_h: float, where: LaunchOption) -> "History":
        self.attempts += 1
        return self.add(
            at_h, "intended", attempt=self.attempts, token=f"t{self.attempts}", cloud=where.cloud,
            region=where.region, zone=where.zone, instance_type=where.instance_type,
            market=where.market, nodes=1, price_per_hour_usd="1", worst_usd="50",
            kill_at=(NOW + timedelta(hours=50)).isoformat(),
        ).add(at_h, "armed")  # fmt: skip

    def refused(self, at_h: float, where: LaunchOption, why: str = "no_capacity") -> "History":
        self.asked(at_h, where).add(at_h, "refused", why=why, made_nothing=True)
        return self.add(at_h, "absent", why=why)

    def works(self, at_h: float, where: LaunchOption) -> "History":
        at = (NOW + timedelta(hours=at_h)).isoformat()
        self.asked(at_h, where).add(at_h, "created", machine_id="m", started_at=at)
        return self.add(at_h, "confirmed").add(at_h, "running")

    def over(self, at_h: float, why: str, figures: dict[str, Any]) -> "History":
        at = (NOW + timedelta(hours=at_h)).isoformat()
        self.add(at_h, "ended", why=why, figures=figures).add(at_h, "collected", missing=[])
        self.add(at_h, "terminating")
        return self.add(at_h, "terminated", why=why, ended_at=at, charged_usd="1")

    @property
    def run(self) -> Run:
        run = fold(self.facts)
        assert run is not None
        return run


def seen(run: Run, at_h: float, live: Live | None = None, order: Order = ORDER) -> View:
    told = Told()
    steering = Steering(order, TERMS)
    steering._policy = told
    now = NOW + timedelta(hours=at_h)
    steering.leaves(run, now, live) if live else steering.next_place(run, now)
    return told.views[0]


def test_before_anything_all_zones_are_worth_asking() -> None:
    view = seen(History().run, 0)
    assert [zone.up for zone in view.zones] == [True, True]
    assert (view.on, view.work_left_h, view.time_left_h, view.spent_usd) == (WAIT, 4, 10, 0)


def test_a_zone_that_refused_is_asked_again_ever_more_rarely() -> None:
    history = History().refused(1, A)
    assert not seen(history.run, 1.01).zones[0].up
    assert seen(history.run, 1.02).zones[0].up
    history.refused(2, A)  # down for an hour now: asked again after half as long
    assert not seen(history.run, 2.4).zones[0].up
    zones = seen(history.run, 2.6).zones
    assert [zone.up for zone in zones] == [True, True]
    # If it is back, then at any time since the last no.
    assert zones[0].since_h == pytest.approx(0.3)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("why", ["no_quota", "unfit"])
def test_what_the_account_cannot_have_is_not_asked_for_again(why: str, policy: str) -> None:
    history, terms = History().refused(1, A, why), replace(TERMS, policy=policy)
    steering = Steering(ORDER, terms)
    assert steering.next_place(history.run, NOW + timedelta(hours=1)) == DEMAND
    assert goes_on(history.run, ORDER)
    history.works(1, DEMAND)
    assert not steering.leaves(history.run, NOW + timedelta(hours=2), Live(0.9, None))
    nowhere = History().refused(1, A, why).refused(1, DEMAND, why)
    assert not goes_on(nowhere.run, ORDER)


@pytest.mark.parametrize(("why", "left_h"), [("move", 3.0), ("preempted", 3.25)])
def test_what_was_not_saved_for_certain_is_still_to_do(why: str, left_h: float) -> None:
    history = History().works(0, A).over(1.1, why, {"command_s": 3600.0})
    view = seen(history.run, 2)
    assert view.work_left_h == pytest.approx(left_h)
    assert view.spent_usd == 1
    assert view.zones[0].preempted.events == (why == "preempted")


def test_the_jobs_own_pace_is_heeded_once_it_was_seen_for_a_while() -> None:
    run = History().works(0, A).run
    assert seen(run, 1, Live(0.1, 9.0)).work_left_h == pytest.approx(3.9)
    view = seen(run, 1, Live(1.0, 5.0))
    assert view.work_left_h == 5
    assert view.on == 0
    assert view.spent_usd == pytest.approx(1)
    points = [[10, 0.0], [20, 360.0], [30, 720.0]]
    told = {"command_s": 720.0, "steps": 130, "points": points}
    history = History().works(0, A).over(1, "move", told)
    assert seen(history.run, 2).work_left_h == pytest.approx(1.0)


def test_a_zone_that_asks_more_than_may_be_paid_has_none() -> None:
    def bill(option: LaunchOption) -> Bill | None:
        return None if option == A else replace(option.bill, price_per_hour_usd=Decimal(3))

    told = Told()
    steering = Steering(ORDER, TERMS, bill)
    steering._policy = told
    steering.next_place(History().run, NOW)
    assert [(zone.up, zone.price_usd_per_h) for zone in told.views[0].zones] == [
        (False, 4.0), (True, 3.0),
    ]  # fmt: skip


def test_a_boot_that_does_not_end_is_left_in_time_for_on_demand() -> None:
    history = History().asked(0, A)
    at = NOW.isoformat()
    history.add(0, "created", machine_id="m", started_at=at)
    steering = Steering(ORDER, TERMS)
    for at_h, leaves in [(3.0, False), (5.8, False), (5.9, True)]:
        assert steering.leaves(history.run, NOW + timedelta(hours=at_h), None) is leaves


@pytest.mark.parametrize("policy", POLICIES)
def test_with_no_time_to_spare_every_policy_goes_on_demand(policy: str) -> None:
    terms = replace(TERMS, policy=policy)
    place = Steering(replace(ORDER, spot=terms), terms).next_place(
        History().run, NOW + timedelta(hours=5.89)
    )
    assert place == DEMAND


def test_on_demand_that_is_refused_is_asked_again_after_a_look_or_spot_is_taken() -> None:
    history = History().refused(5.89, DEMAND)
    steering = Steering(ORDER, TERMS)
    place = steering.next_place(history.run, NOW + timedelta(hours=5.895))
    assert place is not None
    assert place_of(place) == place_of(A)
    assert steering.next_place(history.run, NOW + timedelta(hours=5.91)) == DEMAND
