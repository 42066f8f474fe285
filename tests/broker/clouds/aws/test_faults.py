"""Whatever fails, and whenever the client dies: no leak, no double launch, never over the cap.

At random, and at full size: `make campaign`.
"""

from decimal import Decimal

import pytest
from tests.support.aws.guests import Script
from tests.support.aws.machines import Vm
from tests.support.aws.runs import CANDIDATES, AwsRuns, intent
from tests.support.aws.server import StrictAws

from mlbroker.broker.clouds.seam import Payload

MONTH_S = 30 * 86400.0


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


def test_the_first_candidate_is_taken_when_all_is_well(runs: AwsRuns, run_id: str) -> None:
    run = runs.launch(run_id)
    assert (run.attempt.region, run.attempt.zone) == (CANDIDATES[0].region, CANDIDATES[0].zone)
    runs.check(run_id)
