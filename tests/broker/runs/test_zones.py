"""From the plan's machines to the zones to try: across zones, regions and clouds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.sim_runs import SimRuns

from mlbroker.broker.clouds.interface import Cloud, Denied
from mlbroker.broker.clouds.local import LocalCloud
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.prices.shortages import Shortage, lately
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.runs.zones import ENOUGH, by_zone, open_regions, why_not_in
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.vendors import Meter

OWN: Any = LocalCloud(Path("/nowhere"))
BILL = Bill(Decimal(1), 1, Meter())
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Zoned:
    """A cloud that is set up in some regions, each with two zones."""

    regions: tuple[str, ...] = ("r1", "r2")
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def zones_for(self, region: str, instance_type: str, zone: str | None) -> tuple[str, ...]:
        self.asked.append(region)
        if self.error:
            raise self.error
        zones = (f"{region}-a", f"{region}-b") if region in self.regions else ()
        return tuple(z for z in zones if zone in (None, z))

    def regions_set_up(self) -> frozenset[str]:
        if self.error:
            raise self.error
        return frozenset(self.regions)

    def how_to_set_up(self, region: str) -> str:
        return f"set {region} up"


def candidate(cloud: str, region: str, **more: Any) -> LaunchOption:
    return LaunchOption(cloud, region, "large", "spot", BILL, **more)


def told(
    candidates: list[LaunchOption], clouds: dict[str, Any], shortages: Sequence[Shortage] = ()
) -> tuple[list[tuple[str, str | None]], list[str]]:
    said: list[str] = []
    opened = cast("dict[str, Cloud]", clouds).__getitem__
    found = by_zone(candidates, opened, shortages, said.append)
    return [(c.cloud, c.zone) for c in found], said


def test_each_zone_is_a_candidate_in_the_plans_order() -> None:
    places, said = told(
        [candidate("x", "r2"), candidate("y", "r1"), candidate("x", "r1", zone="r1-b")],
        {"x": Zoned(), "y": Zoned()},
    )
    assert places == [
        ("x", "r2-a"), ("x", "r2-b"), ("y", "r1-a"), ("y", "r1-b"), ("x", "r1-b"),
    ]  # fmt: skip
    assert said == []


def test_own_machines_have_no_zones() -> None:
    assert told([candidate("local", "here")], {"local": OWN})[0] == [("local", None)]


def test_a_type_that_no_zone_has_is_said_and_the_next_is_taken() -> None:
    places, said = told([candidate("x", "r9"), candidate("x", "r1")], {"x": Zoned()})
    assert [zone for _, zone in places] == ["r1-a", "r1-b"]
    assert "large is offered in no zone of r9" in said[0]
    with pytest.raises(InputError, match="none of its runners-up can be had"):
        told([candidate("x", "r9")], {"x": Zoned()})


def test_why_nothing_can_be_launched_in_a_region_comes_with_what_to_do() -> None:
    x = cast("Cloud", Zoned())
    assert why_not_in(x, "x", "r1") is None
    assert why_not_in(x, "x", "r9") == "x is not set up there. set r9 up"
    assert why_not_in(OWN, "local", "on-prem") is None


def test_enough_is_enough() -> None:
    cloud = Zoned()
    told([candidate("x", "r1")] * 100, {"x": cloud})
    assert len(cloud.asked) == ENOUGH / 2


def test_spot_machines_leave_room_for_those_on_demand_behind_them() -> None:
    dear = replace(candidate("x", "r2"), market="on_demand")
    spot = [candidate("x", "r1")] * ENOUGH
    found = by_zone([*spot, dear], lambda _: cast("Cloud", Zoned()), (), lambda text: None)
    assert [c.zone for c in found if c.market == "on_demand"] == ["r2-a", "r2-b"]
    assert len(found) == ENOUGH + 2


def test_places_that_had_nothing_lately_come_last(tmp_path: Path) -> None:
    sim = SimRuns(tmp_path)
    with sim.service.world() as world:
        world.no_capacity = {"small"}
    sim.launch()
    small, medium = (LaunchOption("sim", "r", name, "spot", BILL) for name in ("small", "medium"))
    opened = cast("dict[str, Cloud]", {"sim": OWN}).__getitem__
    shortages = lately(tmp_path, sim.service.now())
    found = by_zone([small, medium], opened, shortages, lambda text: None)
    assert [c.instance_type for c in found] == ["medium", "small"]


def test_a_zone_that_had_nothing_lately_comes_last() -> None:
    short = Shortage("x", "r1", "r1-a", "large", True, NOW, "none left")
    on_demand = short._replace(zone="r1-b", spot=False)
    places, _ = told([candidate("x", "r1")], {"x": Zoned()}, [short, on_demand])
    assert [zone for _, zone in places] == ["r1-b", "r1-a"]


def test_regions_that_can_be_launched_in_are_those_of_clouds_that_answer() -> None:
    said: list[str] = []
    clouds: dict[str, Any] = {
        "x": Zoned(),
        "y": Zoned(error=Denied("no credentials found", where="y")),
        "z": Zoned(regions=()),
        "w": Zoned(error=InputError("this needs a library", hint="pip install it")),
        "local": OWN,
    }
    opened = cast("dict[str, Cloud]", clouds).__getitem__
    assert open_regions(clouds, opened, said.append) == ("on-prem", "r1", "r2")
    assert [len(said), "no credentials" in said[0], "set up in no region" in said[1]] == [
        3,
        True,
        True,
    ]
    assert "pip install it" in said[2]
    with pytest.raises(CloudError, match="y: no credentials found; z: it is set up in no region"):
        open_regions(["y", "z"], opened, said.append)


def test_an_own_machine_needs_no_cloud_behind_it() -> None:
    shut = Zoned(error=Denied("no credentials found", where="y"))
    clouds = {"local": OWN, "y": shut, "x": Zoned()}
    asked = [candidate("local", "here"), candidate("y", "r1"), candidate("y", "r2"),
             candidate("x", "r1")]  # fmt: skip
    assert [cloud for cloud, _ in told(asked, clouds)[0]] == ["local", "x", "x"]
    assert shut.asked == ["r1"]
    with pytest.raises(Denied, match="no credentials"):
        told(asked[1:], clouds)
