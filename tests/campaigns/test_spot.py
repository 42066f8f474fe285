"""Spot markets at random on the three loopback clouds: in time, within the cap, nothing left."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.campaign import figures, size
from tests.support.cloud_runs import CloudRuns
from tests.support.spot_runs import (
    LOOK_S,
    RESTART_S,
    SAVES_S,
    WORK_S,
    Market,
    Saves,
    history,
    options,
    place_of,
    spot_order,
)
from tests.support.strict import StrictCloud
from tests.support.vendors import VENDORS, Vendor, vendor_named
from tests.support.zygote import Zygote

from mlbroker.policies.spot import POLICIES

CAP = "60"
MONTH_S = 30 * 86400.0
_COUNT = itertools.count()


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    with vendor.standing(tmp_path_factory.mktemp(vendor.name), frozen=True) as world:
        yield world


@pytest.fixture
def world(server: StrictCloud) -> StrictCloud:
    server.calm()
    return server


@pytest.fixture
def run_id() -> str:
    return f"spot{next(_COUNT)}"


def deadline_h(vendor: Vendor, chance: random.Random) -> float:
    """From hardly enough for on demand alone to several times the work."""
    least_s = WORK_S + 1.5 * RESTART_S[vendor.name]
    return least_s * chance.choice([1.0, 1.2, 1.6, 3.0]) / 3600


def test_seeded_markets_are_survived_in_time(
    vendor: Vendor, world: StrictCloud, run_id: str, tmp_path: Path
) -> None:
    places = tuple(place_of(option) for option in options(vendor.runs)[:2])
    machines: Counter[str] = Counter()
    taken = 0
    seeds = size(short=1, full=200)
    with figures(f"{vendor.name}-spot-markets") as kept, vendor.without_pauses(world):
        for seed in range(seeds):
            chance = random.Random(seed)
            world.calm()
            guest = Saves(world.guest) if not isinstance(world.guest, Saves) else world.guest
            world.guest = guest
            world.faults.random = random.Random(seed)
            world.faults.rate = chance.choice([0.0, 0.0, 0.02])
            name = f"{run_id}-{seed}"
            runs: CloudRuns = vendor.runs(tmp_path / name, world, vendor.cloud(vendor.calls()))
            limit_h = deadline_h(vendor, chance)
            Market(world).play(history(seed, places, limit_h * 3600))
            policy = chance.choice(["auto", "auto", *POLICIES])
            begun = spot_order(runs, name, limit_h, CAP, policy)
            run = runs.driver(name, {}).drive(name)
            assert run.outcome == "succeeded", (seed, policy, run.detail)
            assert run.settled_at is not None
            took_h = (run.settled_at - begun.reserved_at).total_seconds() / 3600
            assert took_h <= limit_h, (seed, policy)
            world.faults.rate = 0.0
            runs.check(name, cap=CAP)
            attempts = [attempt for attempt in run.attempts if attempt.machine_id]
            lost_s = len(attempts) * (SAVES_S + LOOK_S)
            assert guest.worked_s[name] <= WORK_S + lost_s, "work was done twice"
            machines.update(attempt.market for attempt in attempts)
            taken += sum(attempt.why == "preempted" for attempt in attempts)
        kept.update(seeds=seeds, late=0, over_cap=0, leaks=0, taken=taken, machines=machines)


def test_a_client_killed_at_any_request_under_a_spot_policy(
    vendor: Vendor, world: StrictCloud, run_id: str, tmp_path: Path
) -> None:
    places = tuple(place_of(option) for option in options(vendor.runs)[:2])
    points = size(short=2, full=200)
    killed = 0
    zygote = Zygote(vendor.name, world.url, vendor.environment(world.url, tmp_path))
    try:
        with figures(f"{vendor.name}-spot-kills") as kept:
            for number in range(points):
                chance = random.Random(number)
                world.calm()
                world.guest = guest = Saves(world.guest)
                name = f"{run_id}-{number}"
                runs = vendor.runs(tmp_path / name, world, vendor.cloud(vendor.calls()))
                limit_h = deadline_h(vendor, chance)
                Market(world).play(history(number, places, limit_h * 3600))
                spot_order(runs, name, limit_h, CAP)
                world.doom.before = chance.random() < 0.5
                world.doom.left = 1 + int(chance.random() ** 2 * 60)
                killed += zygote.launch(tmp_path / name, name) == -9
                world.doom.left = None
                world.clock.advance(MONTH_S)
                assert runs.billed_usd(name) <= float(CAP)
                assert all(not vm.works for vm in runs.vms(name)), "alive after a month"
                assert zygote.wind_up(tmp_path / name) == 0
                runs.check(name, cap=CAP)
                world.guest = guest
            kept.update(points=points, killed=killed, over_cap=0, leaks=0)
    finally:
        zygote.close()
