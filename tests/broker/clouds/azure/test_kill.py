"""The two kill switches, each alone, with nobody looking; and whole runs with their troubles."""

import itertools
from datetime import timedelta

import pytest
from tests.support.azure.runs import CANDIDATES, AzureRuns, intent
from tests.support.azure.server import StrictAzure

from mlbroker.broker.clouds.azure import KILL_SLACK_S, AzureCloud
from mlbroker.broker.clouds.seam import Denied, MachineState, Payload
from mlbroker.broker.ledger import State

DELETE = "Microsoft.Resources/subscriptions/resourceGroups/delete"
MAKE = "Microsoft.Compute/virtualMachines/write"
JOB = Payload({"command": "true"})


def endless(world: StrictAzure) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]


def test_a_clock_that_is_ahead_would_outlive_the_cap_and_is_refused(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    early = world.clock.now() + timedelta(seconds=120)
    with pytest.raises(Denied, match=r"1[12]\d s ahead of Azure's"):
        cloud.arm_kill(intent(world, run_id, intended_at=early))
    assert world.arm.estate.group(f"mlb-{run_id}-1") is None
    cloud.arm_kill(intent(world, run_id, intended_at=early - timedelta(seconds=240)))


@pytest.mark.parametrize("market", ["spot", "on_demand"])
def test_the_logic_app_ends_the_machine_though_its_own_timer_is_broken(
    world: StrictAzure, cloud: AzureCloud, run_id: str, market: str
) -> None:
    endless(world)
    world.guest.timer = False  # type: ignore[attr-defined]
    wanted = intent(world, run_id, market=market)
    cloud.arm_kill(wanted)
    cloud.create(wanted, JOB)
    world.clock.advance(30 * 86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    assert wanted.kill_at <= vm.gone_at <= wanted.kill_at + timedelta(seconds=KILL_SLACK_S)


def test_the_machines_own_timer_ends_it_though_the_logic_app_does_not(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    endless(world)
    world.faults.workflows_work = False
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.create(wanted, JOB)
    world.clock.advance(86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    assert vm.ends_at == wanted.kill_at.replace(microsecond=0)
    assert vm.gone_at <= wanted.kill_at + timedelta(seconds=KILL_SLACK_S)


def test_a_machine_that_may_not_delete_itself_is_deleted_when_it_is_looked_for(
    runs: AzureRuns, run_id: str
) -> None:
    runs.world.faults.guests_may_delete = False
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    runs.check(run_id)


def test_a_run_leaves_nothing_but_its_ledger(runs: AzureRuns, run_id: str) -> None:
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    assert [a.zone for a in run.attempts] == ["eastus-1"]
    runs.check(run_id)
    for blobs in runs.world.blobs.accounts.values():
        assert not [key for key in blobs if f"mlb-{run_id}-" in key]


def test_shortages_and_quotas_lead_to_the_next_zone(runs: AzureRuns, run_id: str) -> None:
    limits = runs.world.arm.limits
    limits.quotas["lowPriorityCores", "eastus"] = 1
    run = runs.launch(run_id)
    assert [(a.why, a.zone) for a in run.attempts] == [
        ("no_quota", "eastus-1"),
        ("no_quota", "eastus-2"),
        ("finished", "westeurope"),
    ]
    runs.check(run_id)


def test_a_preempted_run_goes_on_elsewhere_within_its_cap(runs: AzureRuns, run_id: str) -> None:
    runs.world.arm.evict_after_s = 100
    run = runs.launch(run_id)
    assert [(a.why, a.zone) for a in run.attempts] == [
        ("preempted", "eastus-1"),
        ("finished", "eastus-2"),
    ]
    runs.check(run_id)


def test_a_machine_taken_without_a_word_is_known_as_preempted(runs: AzureRuns, run_id: str) -> None:
    endless(runs.world)
    runs.reserve(run_id)
    driver = runs.driver(run_id, {})
    while driver.advance(run_id).state is not State.RUNNING:
        pass
    (vm,) = [vm for vm in runs.world.vms() if vm.tags["mlbroker-run"] == run_id]
    runs.world.arm.take_away(vm)
    runs.world.guest.job_s = 60  # type: ignore[attr-defined]
    run = driver.drive(run_id)
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    runs.check(run_id)


@pytest.mark.parametrize("action", [MAKE, DELETE])
def test_lost_answers_lead_to_no_second_machine(runs: AzureRuns, run_id: str, action: str) -> None:
    runs.world.faults.lost_after[action] = 3
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    assert len(run.attempts) == 1
    runs.check(run_id)


def test_deletes_that_fail_late_are_insisted_on(runs: AzureRuns, run_id: str) -> None:
    runs.world.faults.guests_may_delete = False
    runs.world.faults.late_deletes = 3
    runs.launch(run_id)
    runs.check(run_id)


def test_a_stranger_in_the_subscription_is_left_alone(runs: AzureRuns, run_id: str) -> None:
    endless(runs.world)
    runs.launch(run_id, "1.2", CANDIDATES[:1])
    stranger = intent(runs.world, run_id + "x")
    runs.cloud.arm_kill(stranger)
    runs.cloud.create(stranger, JOB)
    found = runs.reconcile()
    assert [(f.did, f.what) for f in found] == [("foreign", stranger.token)]
    seen = runs.cloud.status(stranger.token)
    assert seen is not None
    assert seen.state is MachineState.RUNNING
    runs.cloud.terminate(seen.id)
    runs.world.clock.advance(60)


def test_runs_side_by_side_do_not_mix(runs: AzureRuns, run_id: str) -> None:
    names = [f"{run_id}-{number}" for number in range(6)]
    drivers = {}
    for name in names:
        runs.reserve(name)
        drivers[name] = runs.driver(name, {})
    for name in itertools.cycle(names):
        if name in drivers and drivers[name].advance(name).settled:
            del drivers[name]
        if not drivers:
            break
    runs.check(*names)
    assert all(runs.world.arm.made[f"mlb-{name}-1"] == 1 for name in names)
