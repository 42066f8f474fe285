"""Whatever fails, and whenever the client dies: no leak, no double launch, never over the cap.

Full sizes: `make campaign`.
"""

import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.aws.ec2 import billed_usd
from tests.support.aws.faults import Bucket
from tests.support.aws.guests import Script
from tests.support.aws.machines import Vm
from tests.support.aws.runs import CANDIDATES, CAP, PRICE, AwsRuns, intent
from tests.support.aws.server import StrictAws, environment
from tests.support.aws.zygote import Zygote
from tests.support.campaign import figures, size

from mlbroker.broker.clouds.aws import AwsCloud
from mlbroker.broker.clouds.seam import Payload, Unclear
from mlbroker.broker.errors import MlbrokerError

MONTH_S = 30 * 86400.0


@pytest.fixture
def patient(world: StrictAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's pauses between its tries pass on the virtual clock."""
    waiting = SimpleNamespace(sleep=world.clock.advance)
    monkeypatch.setattr("botocore.endpoint.time", waiting)


@pytest.fixture(scope="module")
def zygote(aws_server: StrictAws) -> Iterator[Zygote]:
    zygote = Zygote(aws_server.url, environment(aws_server.url))
    yield zygote
    zygote.close()


def of_run(world: StrictAws, run_id: str) -> list[Vm]:
    return [vm for vm in world.vms() if vm.tags.get("mlbroker-run") == run_id]


def script(world: StrictAws) -> Script:
    assert isinstance(world.guest, Script)
    return world.guest


def test_capacity_quota_and_a_reclaimed_machine_lead_on_to_the_next_place(
    runs: AwsRuns, run_id: str
) -> None:
    world = runs.world
    world.ec2.capacity["m5.large", "us-east-1a", "*"] = 0
    world.ec2.interrupt_after_s = 100
    script(world).job_s = 200
    run = runs.launch(run_id)
    assert [(a.zone or a.region, a.why) for a in run.attempts] == [
        ("us-east-1a", "no_capacity"),
        ("us-east-1b", "preempted"),
        ("us-west-2", "finished"),
    ]
    assert run.outcome == "succeeded"
    runs.check(run_id)


def test_nothing_left_anywhere_settles_at_nothing(runs: AwsRuns, run_id: str) -> None:
    runs.world.ec2.capacity["*", "*", "*"] = 0
    run = runs.launch(run_id)
    assert (run.outcome, run.spent_usd) == ("not_launched", Decimal(0))
    assert {attempt.why for attempt in run.attempts} == {"no_capacity"}
    assert of_run(runs.world, run_id) == []
    runs.check(run_id)


@pytest.mark.parametrize("layer", ["timer", "schedule"])
def test_either_kill_switch_alone_holds_the_cap(runs: AwsRuns, run_id: str, layer: str) -> None:
    world = runs.world
    script(world).job_s = None
    script(world).timer = layer == "timer"
    world.faults.scheduler_is_down = layer == "timer"
    wanted = intent(world, run_id)
    runs.cloud.arm_kill(wanted)
    runs.cloud.create(wanted, Payload({"command": "sleep"}))
    world.clock.advance(MONTH_S)
    (vm,) = world.vms(wanted.token)
    assert vm.ends_at is not None
    slack = runs.cloud.traits.kill_slack_s
    assert (vm.ends_at - wanted.kill_at).total_seconds() <= slack
    runs.cloud.disarm_kill(wanted)


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
            world.faults.ignored_deletes = chance.choice([0, 0, 1, 2])
            world.ec2.machines.hidden_s = chance.choice([0, 5, 25])
            world.ec2.interrupt_after_s = chance.choice([None, None, 30, 200])
            if chance.random() < 0.3:
                world.ec2.capacity["m5.large", "us-east-1a", "*"] = chance.choice([0, 1])
            script(world).job_s = chance.choice([20, 60, 150, None])
            script(world).timer = chance.random() < 0.7
            script(world).code = chance.choice([0, 0, 3])
            name = f"{run_id}-{seed}"
            runs.reserve(name)
            try:
                outcome = str(runs.driver(name, {}).drive(name).outcome)
            except MlbrokerError:
                outcome = "interrupted"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            world.faults.rate = 0.0
            runs.wind_up()
            runs.check(name)
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
            world.faults.scheduler_is_down = script(world).timer and chance.random() < 0.5
            name = f"{run_id}-{number}"
            runs = AwsRuns(tmp_path / name, world)
            runs.reserve(name)
            world.kill_before = chance.random() < 0.5
            world.kill_in = 1 + int(chance.random() ** 2 * 60)
            killed += zygote.launch(tmp_path / name, name) == -9
            world.kill_in = None
            world.clock.advance(MONTH_S)
            now = world.clock.now()
            assert billed_usd(of_run(world, name), float(PRICE), now) <= float(CAP)
            assert all(vm.ends_at for vm in of_run(world, name)), "alive after a month"
            assert zygote.wind_up(tmp_path / name) == 0
            runs.check(name)
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
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
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


def test_the_first_candidate_is_taken_when_all_is_well(runs: AwsRuns, run_id: str) -> None:
    run = runs.launch(run_id)
    assert (run.attempt.region, run.attempt.zone) == (CANDIDATES[0].region, CANDIDATES[0].zone)
    runs.check(run_id)
