"""Google Cloud and Azure with everything that goes wrong: no leak, no twin, never over the cap.

On both a machine that merely shuts down bills on.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from tests.support.campaign import figures, size
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import DELETING, Vendor, vendor_named
from tests.support.zygote import Zygote

from mlbroker.broker.errors import MlbrokerError

SEEDS = size(5, 200)
DEATHS = size(8, 1000)
MONTH_S = 30 * 86400.0
_COUNT = itertools.count()


class BadDay(NamedTuple):
    """What may go wrong at one vendor's alone: counters of faults, full places, a spent quota."""

    late: tuple[str, ...]
    places: tuple[str, ...]
    spot_quota: tuple[str, str]
    # What a spot machine may come to cost: above its bid it goes, and where none is taken it pays.
    dearest: float


BAD_DAYS = {
    "gcp": BadDay(
        ("late_inserts", "late_deletes"),
        ("us-central1-a", "us-central1-b", "europe-west4-a"),
        ("PREEMPTIBLE_CPUS", "us-central1"),
        4.5,
    ),
    "azure": BadDay(
        ("late_deletes",), ("eastus", "westeurope"), ("lowPriorityCores", "eastus"), 4.6
    ),
}


@pytest.fixture(scope="module", params=DELETING)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture(scope="module")
def zygote(
    server: StrictCloud, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zygote]:
    environment = vendor.environment(server.url, tmp_path_factory.mktemp("zygote"))
    zygote = Zygote(vendor.name, server.url, environment)
    yield zygote
    zygote.close()


def opened(vendor: Vendor, server: StrictCloud, calls: Any, home: Path) -> CloudRuns:
    server.calm()
    return vendor.runs(home, server, vendor.cloud(calls))


def test_random_faults_leave_nothing_behind(
    vendor: Vendor, server: StrictCloud, calls: Any, tmp_path: Path
) -> None:
    cap = vendor.small_cap
    with figures(f"{vendor.name}-faults") as kept:
        outcomes: dict[str, int] = {}
        made: Counter[str] = Counter()
        for seed in range(SEEDS):
            runs = opened(vendor, server, calls, tmp_path / str(seed))
            run_id = f"f{next(_COUNT)}"
            _misfortune(server, BAD_DAYS[vendor.name], Random(seed))
            try:
                runs.launch(run_id, cap, runs.rising())
            except MlbrokerError:
                outcomes["given up"] = outcomes.get("given up", 0) + 1
            server.faults.clear()
            runs.wind_up()
            server.clock.advance(7200)
            runs.check(run_id, cap=cap)
            run = runs.ledger.run(run_id)
            assert run is not None
            outcomes[str(run.outcome)] = outcomes.get(str(run.outcome), 0) + 1
            made.update(life.token for life in runs.lives(run_id))
        leaks = sum(vm.gone_at is None for vm in server.vms())
        twice = sum(count > 1 for count in made.values())
        kept.update(seeds=SEEDS, leaks=leaks, double_launches=twice, **outcomes)
    assert (leaks, twice) == (0, 0)
    assert outcomes.get("succeeded", 0) > SEEDS / 5


def test_a_client_killed_at_any_request_costs_no_more_than_its_cap(
    vendor: Vendor, server: StrictCloud, calls: Any, zygote: Zygote, tmp_path: Path
) -> None:
    cap = vendor.small_cap
    limits = server.control.limits
    billed: list[float] = []
    killed = 0
    with figures(f"{vendor.name}-client-dead") as kept:
        for death in range(DEATHS):
            random = Random(death)
            runs = opened(vendor, server, calls, tmp_path / str(death))
            run_id = f"d{next(_COUNT)}"
            # A job without an end, on a machine whose own timer fails every third time.
            server.guest.job_s = None  # type: ignore[attr-defined]
            server.guest.timer = death % 3 > 0  # type: ignore[attr-defined]
            if random.random() < 0.3:
                limits.capacity["*", BAD_DAYS[vendor.name].places[0], "*"] = 0
                limits.at_once = random.random() < 0.5
            if random.random() < 0.5:
                server.clock.after(60, partial(server.control.reprice, 4.5))
            runs.reserve(run_id, cap, runs.rising())
            server.doom.before = random.random() < 0.5
            server.doom.left = 1 + int(random.random() ** 2 * 120)
            killed += zygote.launch(runs.home, run_id) == -9
            server.doom.left = None
            # Nobody is there any more; a month goes by.
            server.clock.advance(MONTH_S)
            assert all(vm.gone_at for vm in server.vms())
            billed.append(runs.billed_usd(run_id))
            runs.wind_up()
            runs.check(run_id, cap=cap)
        over = sum(usd > float(cap) for usd in billed)
        dearest = max(billed)
        kept.update(
            deaths=DEATHS, killed=killed, over_the_cap=over, dearest_usd=round(dearest, 4),
            cap_usd=cap,
        )  # fmt: skip
    assert over == 0
    assert killed >= DEATHS // 2
    # Half of Azure's is kept for a kill that is late, and more for a spot price that rises.
    assert dearest > float(cap) / 3, "the cap was never put to the test"


def _misfortune(world: StrictCloud, day: BadDay, random: Random) -> None:
    """A network and a vendor on a bad day."""
    faults: Any = world.faults
    limits = world.control.limits
    faults.random = random
    faults.rate = random.choice((0.0, 0.02, 0.05, 0.1))
    for name in day.late:
        setattr(faults, name, random.choice((0, 0, 1, 2)))
    faults.stuck = random.choice((0, 0, 0, 1))
    faults.guests_may_delete = random.random() < 0.8
    world.control.machines.hidden_s = random.choice((0.0, 5.0, 25.0))
    limits.at_once = random.random() < 0.5
    for place in day.places:
        if random.random() < 0.25:
            limits.capacity["*", place, "*"] = 0
    if random.random() < 0.5:
        price = random.choice((4.4, day.dearest))
        world.clock.after(random.choice((30, 100)), partial(world.control.reprice, price))
    if random.random() < 0.15:
        limits.quotas[day.spot_quota] = 0
    if random.random() < 0.3:
        world.control.preempt_after_s = random.uniform(5, 200)
    world.guest.job_s = random.choice((20.0, 120.0, 300.0, None))  # type: ignore[attr-defined]
    world.guest.timer = random.random() < 0.8  # type: ignore[attr-defined]
