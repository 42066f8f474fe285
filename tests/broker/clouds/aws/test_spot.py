"""Spot machines: asked for where they cost least now, and charged what they cost while they ran."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.aws.runs import BILL, PRICE, AwsRuns, intent
from tests.support.aws.server import StrictAws, environment
from tests.support.spot_runs import (
    HOUR_S,
    LOOK_S,
    SAVES_S,
    WORK_S,
    Market,
    Outage,
    Saves,
    options,
    spot_order,
)

from mlbroker.broker.clouds import opener
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.aws.spot import Change, average
from mlbroker.broker.clouds.interface import Payload, telling_price
from mlbroker.broker.errors import InputError
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.view import View
from mlbroker.broker.runs.zones import by_zone

MOST = Decimal("4.5")
HERE = LaunchOption(
    "aws", "us-east-1", "m5.large", "spot", BILL, zone="us-east-1a", max_price_per_hour_usd=MOST
)
ANYWHERE = LaunchOption("aws", "us-east-1", "m5.large", "spot", BILL, max_price_per_hour_usd=MOST)
JOB = Payload({"command": "true"})
BEGAN = datetime(2026, 11, 24, 9, 40, tzinfo=UTC)


class Warned(View):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


def test_what_is_charged_is_what_the_zone_asked_hour_by_hour(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    world.ec2.ask("us-east-1a", "m5.large", 3.0)
    world.ec2.ask("us-east-1b", "m5.large", 1.0)
    wanted = intent(
        world, run_id, market="spot", zone="us-east-1a", max_price_per_hour_usd=MOST,
        kill_at=world.clock.now() + timedelta(hours=9),
    )  # fmt: skip
    cloud.create(wanted, JOB)
    (vm,) = world.vms(wanted.token)
    # What it rises to within an hour, nobody pays; and above the maximum it is ended.
    for after_s, usd in ((1800, 2.0), (2000, 4.5), (1000, 4.0), (2500, 2.0), (2000, 99.0)):
        world.clock.advance(after_s)
        world.ec2.ask("us-east-1a", "m5.large", usd)
    world.clock.advance(600)
    assert vm.ends_at is not None
    paid = cloud.price_paid(wanted, vm.launched_at, vm.ends_at)
    stood_h = Decimal(vm.billed_s(vm.ends_at)) / 3600
    assert paid is not None
    billed = Decimal(3) + Decimal(2) + Decimal(4) * (stood_h - 2)
    assert paid * stood_h == pytest.approx(billed, abs=Decimal("1e-6"))
    assert world.ec2.billed_usd([vm], 0.0) == pytest.approx(float(billed))
    elsewhere = replace(wanted, zone="us-east-1c")
    assert cloud.price_paid(elsewhere, vm.launched_at, vm.ends_at) is None, "nothing is told"


def test_a_history_that_cannot_be_read_charges_the_maximum_and_says_so(
    runs: AwsRuns, run_id: str
) -> None:
    runs.world.faults.errors["DescribeSpotPriceHistory"] = ("UnauthorizedOperation", "no")
    runs.world.guest.job_s = 20
    runs.reserve(run_id, "60", (HERE,))
    view = Warned()
    folder = RunFolder.of(runs.home, run_id)
    run = Driver(runs.ledger, runs.opened, runs.clock, folder, view, {}).drive(run_id)
    assert (run.outcome, charged_prices(runs)) == ("succeeded", ["maximum"])
    assert ["the maximum is charged" in text for text in view.said] == [True]


def charged_prices(runs: AwsRuns) -> list[str]:
    """Which price was charged for each attempt."""
    return [f.body["charged_price"] for f in runs.ledger.facts() if f.kind == "terminated"]


def test_the_cheapest_zone_comes_first_and_one_that_is_too_dear_is_passed_over(
    world: StrictAws, cloud: AwsCloud
) -> None:
    for zone, usd in (("a", 4.6), ("b", 4.5), ("d", 1.0)):
        world.ec2.ask(f"us-east-1{zone}", "m5.large", usd)
    said: list[str] = []
    places = [one.zone for one in by_zone([ANYWHERE], lambda _: cloud, [], said.append)]
    assert places[0] == "us-east-1d"
    assert "us-east-1a" not in places
    assert set(places) >= {"us-east-1b", "us-east-1c"}, "what is not told may be had"
    (note,) = said
    assert (
        "us-east-1a is passed over: it costs 4.600000 USD/h now, and this run may pay 4.5" in note
    )
    # In the zone it was told to stay in, there is none: the next type is taken.
    other = LaunchOption("aws", "us-west-2", "m5.large", "on_demand", BILL)
    assert by_zone([HERE, other], lambda _: cloud, [], said.append)[0].region == "us-west-2"
    with pytest.raises(InputError, match="costs more than this run may pay") as none:
        by_zone([HERE], lambda _: cloud, [], said.append)
    assert "prices refresh" in (none.value.hint or "")


def test_prices_that_cannot_be_asked_are_said_and_every_zone_is_tried(
    world: StrictAws, cloud: AwsCloud
) -> None:
    world.faults.errors["DescribeSpotPriceHistory"] = ("UnauthorizedOperation", "no")
    said: list[str] = []
    assert len(by_zone([ANYWHERE], lambda _: cloud, [], said.append)) > 2
    assert "not known" in said[0]
    on_demand = LaunchOption("aws", "us-east-1", "m5.large", "on_demand", BILL)
    by_zone([on_demand], lambda _: cloud, [], said.append)
    assert len(said) == 1, "nobody asks for a machine on demand"


def test_the_cloud_as_commands_open_it_tells_prices(
    world: StrictAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opener(tmp_path)
    assert telling_price(opened("aws")) is not None
    assert telling_price(opened("gcp")) is None
    # What nobody understands is an error of ours, which the driver and the zones expect.
    wanted = intent(world, market="spot", zone=None)
    for name, value in environment(world.url).items():
        monkeypatch.setenv(name, value)
    now = world.clock.now()
    teller: Any = telling_price(opened("aws"))
    assert teller.price_paid(wanted, now, now) is None


prices = st.lists(
    st.tuples(st.integers(0, 40_000), st.decimals("0.001", "99", places=6)), min_size=1, max_size=9
)


@given(prices, st.integers(0, 40_000))
def test_what_is_paid_lies_between_the_prices_and_below_the_maximum(
    told: list[tuple[int, Decimal]], length_s: int
) -> None:
    told[0] = (0, told[0][1])
    changes = sorted(Change(BEGAN + timedelta(seconds=s), "a", usd) for s, usd in told)
    ended = BEGAN + timedelta(seconds=length_s)
    paid = average(changes, BEGAN, ended, PRICE)
    low = min(min(change.usd for change in changes), PRICE)
    assert paid is not None
    assert low <= paid <= min(PRICE, max(change.usd for change in changes))
    assert average(changes, BEGAN - timedelta(seconds=1), ended, PRICE) is None


def test_taken_in_one_region_it_goes_on_from_its_checkpoint_in_another(
    world: StrictAws, runs: AwsRuns, run_id: str
) -> None:
    world.guest = guest = Saves(world.guest)
    for zone in ("us-east-1a", "us-west-2a"):
        world.ec2.ask(zone, "m5.large", float(PRICE))
    spot, _, demand, _ = options(AwsRuns)
    # What each machine saved goes home, for so much.
    spot, demand = (
        replace(o, bill=replace(o.bill, once_usd=Decimal("0.7"))) for o in (spot, demand)
    )
    there = {"region": "us-west-2", "zone": "us-west-2a"}
    places = (spot, replace(spot, **there), demand, replace(demand, **there))
    Market(world).play([Outage("us-east-1a", 1800, 9 * HOUR_S)])
    begun = spot_order(runs, run_id, 4, "50", places=places)
    run = runs.driver(run_id, {}).drive(run_id)
    assert run.outcome == "succeeded"
    where = [(a.region, a.market, a.why) for a in run.attempts if a.machine_id]
    assert where == [("us-east-1", "spot", "preempted"), ("us-west-2", "spot", "finished")]
    assert run.settled_at is not None
    assert run.settled_at - begun.reserved_at < timedelta(hours=4)
    assert guest.worked_s[run_id] <= WORK_S + SAVES_S + LOOK_S, "it went on where it was"
    assert all(a.charged_usd is not None and a.charged_usd > Decimal("0.7") for a in run.attempts)
    runs.check(run_id, cap="50")


@pytest.mark.parametrize(("once_usd", "market"), [(0, "spot"), (1, "on_demand")])
def test_a_budget_without_room_for_what_another_machine_saves_is_kept_on_demand(
    world: StrictAws, runs: AwsRuns, run_id: str, once_usd: int, market: str
) -> None:
    world.guest = Saves(world.guest)
    world.ec2.ask("us-east-1a", "m5.large", float(PRICE))
    world.ec2.ask("us-east-1b", "m5.large", float(PRICE))
    dear = tuple(
        replace(o, bill=replace(o.bill, once_usd=Decimal(once_usd))) for o in options(AwsRuns)
    )
    # On demand and the trial of a spot machine, at 14.4 USD an hour, are 26.4 USD.
    spot_order(runs, run_id, 4, "27.5", places=dear)
    run = runs.driver(run_id, {}).drive(run_id)
    assert (run.outcome, run.attempts[0].market) == ("succeeded", market)
    runs.check(run_id, cap="27.5")
