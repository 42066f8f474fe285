"""AWS at random: whatever fails, and whenever the client dies, no leak and never over the cap."""

import itertools
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.aws.faults import Bucket
from tests.support.aws.runs import PRICE, SPOT_ZONES, AwsRuns, intent
from tests.support.aws.server import StrictAws, environment
from tests.support.aws.vendor import VENDOR
from tests.support.campaign import figures, size
from tests.support.loopback_guests import Script
from tests.support.strict import StrictCloud
from tests.support.zygote import Zygote

from mlbroker.broker.clouds.aws.calls import Calls
from mlbroker.broker.clouds.aws.cloud import AwsCloud
from mlbroker.broker.clouds.interface import Payload, Unclear
from mlbroker.broker.errors import MlbrokerError

MONTH_S = 30 * 86400.0
CAP = VENDOR.small_cap
_COUNT = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    with VENDOR.standing(tmp_path_factory.mktemp("aws"), frozen=True) as world:
        yield world


@pytest.fixture(scope="module")
def calls(server: StrictAws) -> Calls:
    return Calls()


@pytest.fixture
def world(server: StrictAws) -> StrictAws:
    server.calm()
    return server


@pytest.fixture
def cloud(world: StrictAws, calls: Calls) -> AwsCloud:
    return AwsCloud(calls)


@pytest.fixture
def runs(world: StrictAws, cloud: AwsCloud, tmp_path: Path) -> AwsRuns:
    return AwsRuns(tmp_path, world, cloud)


@pytest.fixture
def run_id() -> str:
    return f"r{next(_COUNT)}"


@pytest.fixture
def patient(world: StrictAws) -> Iterator[None]:
    with VENDOR.without_pauses(world):
        yield


@pytest.fixture(scope="module")
def zygote(server: StrictAws) -> Iterator[Zygote]:
    zygote = Zygote("aws", server.url, environment(server.url))
    yield zygote
    zygote.close()


def script(world: StrictAws) -> Script:
    assert isinstance(world.guest, Script)
    return world.guest


@pytest.mark.usefixtures("patient")
def test_random_faults_leak_nothing_and_launch_nothing_twice(runs: AwsRuns, run_id: str) -> None:
    world = runs.world
    seeds = size(short=6, full=200)
    outcomes: dict[str, int] = {}
    with figures("aws-random-faults") as kept:
        for seed in range(seeds):
            chance = random.Random(seed)
            world.calm()
            world.faults.random = random.Random(seed)
            world.faults.rate = chance.choice([0.02, 0.1, 0.25])
            world.faults.late_deletes = chance.choice([0, 0, 1, 2])
            world.ec2.machines.hidden_s = chance.choice([0, 5, 25])
            world.ec2.preempt_after_s = chance.choice([None, None, 30, 200])
            if chance.random() < 0.3:
                world.ec2.capacity["m5.large", "us-east-1a", "*"] = chance.choice([0, 1])
            for zone in SPOT_ZONES:
                world.ec2.ask(zone, "m5.large", float(PRICE) * chance.choice([0.5, 0.9, 1, 1.1]))
                risen = float(PRICE) * chance.choice([0.7, 1, 1, 2])
                world.clock.after(
                    chance.random() * 200, partial(world.ec2.ask, zone, "m5.large", risen)
                )
            script(world).job_s = chance.choice([20, 60, 150, None])
            script(world).timer = chance.random() < 0.7
            script(world).code = chance.choice([0, 0, 3])
            name = f"{run_id}-{seed}"
            runs.reserve(name, CAP)
            try:
                outcome = str(runs.driver(name, {}).drive(name).outcome)
            except MlbrokerError:
                outcome = "interrupted"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            world.faults.rate = 0.0
            runs.wind_up()
            runs.check(name, cap=CAP)
        kept.update(seeds=seeds, outcomes=outcomes, leaks=0, double_launches=0)


def test_a_client_killed_at_any_request_never_costs_more_than_the_cap(
    world: StrictAws, zygote: Zygote, run_id: str, tmp_path: Path
) -> None:
    points = size(short=8, full=1000)
    killed = 0
    with figures("aws-killed-clients") as kept:
        for number in range(points):
            chance = random.Random(number)
            world.calm()
            script(world).job_s = chance.choice([60, 200, None])
            script(world).timer = chance.random() < 0.5
            world.faults.kill_works = not (script(world).timer and chance.random() < 0.5)
            if chance.random() < 0.3:
                world.ec2.capacity["m5.large", "us-east-1a", "*"] = 0
            name = f"{run_id}-{number}"
            runs = AwsRuns(tmp_path / name, world)
            runs.reserve(name, CAP)
            world.doom.before = chance.random() < 0.5
            world.doom.left = 1 + int(chance.random() ** 2 * 60)
            killed += zygote.launch(tmp_path / name, name) == -9
            world.doom.left = None
            world.clock.advance(MONTH_S)
            assert runs.billed_usd(name) <= float(CAP)
            assert all(vm.ends_at for vm in runs.vms(name)), "alive after a month"
            assert zygote.wind_up(tmp_path / name) == 0
            runs.check(name, cap=CAP)
        kept.update(points=points, killed=killed, over_cap=0, leaks=0)
    assert killed >= points // 2


def test_many_launches_keep_within_the_vendors_bucket(
    world: StrictAws, cloud: AwsCloud, run_id: str, patient: None
) -> None:
    count = size(short=24, full=100)
    world.ec2.launches["us-east-1"] = bucket = Bucket(8, 2)
    wishes = [intent(world, f"{run_id}-{n}") for n in range(count)]
    made: list[str] = []

    def launch(number: int) -> None:
        while True:
            try:
                made.append(cloud.create(wishes[number], Payload({"command": "true"})).id)
                return
            except Unclear:
                world.clock.advance(2)

    threads = [threading.Thread(target=launch, args=(n,)) for n in range(count)]
    with figures("aws-launches") as kept:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
        kept.update(launches=count, machines=len(set(made)), bucket=8, refill_per_s=2)
    assert len(set(made)) == count
    assert len([vm for vm in world.vms() if vm.tags["mlbroker-run"].startswith(run_id)]) == count
    assert bucket.least >= 0
    for id_ in made:
        cloud.terminate(id_)


def test_a_hundred_launches_at_once_are_not_throttled_at_all(
    world: StrictAws, cloud: AwsCloud, run_id: str
) -> None:
    count = size(short=20, full=100)
    for number in range(count):
        cloud.create(intent(world, f"{run_id}-{number}"), Payload({"command": "true"}))
    assert world.ec2.launches["us-east-1"].least == 1000 - count
