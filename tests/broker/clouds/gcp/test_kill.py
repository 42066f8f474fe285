"""The two kill switches, each alone, with nobody looking; and whole runs with their troubles."""

import itertools
from datetime import timedelta

import pytest
from tests.support.gcp.gce import PREEMPTED
from tests.support.gcp.runs import CANDIDATES, GcpRuns, intent
from tests.support.gcp.server import StrictGcp

from mlbroker.broker.clouds.gcp import KILL_SLACK_S, GcpCloud
from mlbroker.broker.clouds.gcp_script import LATER_S
from mlbroker.broker.clouds.seam import Denied, MachineState, Payload
from mlbroker.broker.ledger import State

JOB = Payload({"command": "true"})


def endless(world: StrictGcp) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]


@pytest.mark.parametrize("market", ["spot", "on_demand"])
def test_google_ends_the_machine_though_its_own_timer_is_broken(
    world: StrictGcp, cloud: GcpCloud, run_id: str, market: str
) -> None:
    endless(world)
    world.guest.timer = False  # type: ignore[attr-defined]
    wanted = intent(world, run_id, market=market)
    cloud.create(wanted, JOB)
    world.clock.advance(30 * 86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    assert wanted.kill_at <= vm.gone_at <= wanted.kill_at + timedelta(seconds=KILL_SLACK_S)


def test_the_machines_own_timer_ends_it_though_google_does_not(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    endless(world)
    world.faults.termination_works = False
    wanted = intent(world, run_id)
    cloud.create(wanted, JOB)
    world.clock.advance(86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    # Only after Google had its chance: a machine that stands still is out of Google's reach.
    assert vm.ends_at == wanted.kill_at.replace(microsecond=0) + timedelta(seconds=LATER_S)
    assert vm.gone_at <= wanted.kill_at + timedelta(seconds=KILL_SLACK_S)


def test_a_clock_that_is_ahead_would_outlive_the_cap_and_is_refused(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    early = world.clock.now() + timedelta(seconds=120)
    with pytest.raises(Denied, match=r"1[12]\d s ahead of Google's"):
        cloud.arm_kill(intent(world, run_id, intended_at=early))
    cloud.arm_kill(intent(world, run_id, intended_at=early - timedelta(seconds=240)))
    assert world.vms(f"mlb-{run_id}-1") == []


def test_a_machine_that_may_not_delete_itself_is_deleted_when_it_is_looked_for(
    runs: GcpRuns, run_id: str
) -> None:
    runs.world.faults.guests_may_delete = False
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    runs.check(run_id)


def test_a_run_leaves_nothing_but_its_ledger(runs: GcpRuns, run_id: str) -> None:
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    assert [a.zone for a in run.attempts] == ["us-central1-a"]
    runs.check(run_id)
    assert not [key for _, key in runs.world.storage.stored() if f"mlb-{run_id}-" in key]


def test_shortages_and_quotas_lead_to_the_next_zone(runs: GcpRuns, run_id: str) -> None:
    limits = runs.world.gce.limits
    limits.capacity["*", "us-central1-a", "*"] = 0
    limits.quotas["PREEMPTIBLE_CPUS", "us-central1"] = 1
    run = runs.launch(run_id)
    assert [(a.why, a.zone) for a in run.attempts] == [
        ("no_quota", "us-central1-a"),
        ("no_quota", "us-central1-b"),
        ("finished", "europe-west4-a"),
    ]
    runs.check(run_id)


def test_a_preempted_run_goes_on_elsewhere_within_its_cap(runs: GcpRuns, run_id: str) -> None:
    runs.world.gce.preempt_after_s = 100
    run = runs.launch(run_id)
    assert [(a.why, a.zone) for a in run.attempts] == [
        ("preempted", "us-central1-a"),
        ("finished", "us-central1-b"),
    ]
    runs.check(run_id)


def test_a_machine_taken_without_a_word_is_known_as_preempted(runs: GcpRuns, run_id: str) -> None:
    endless(runs.world)
    runs.reserve(run_id)
    driver = runs.driver(run_id, {})
    while driver.advance(run_id).state is not State.RUNNING:
        pass
    (vm,) = [vm for vm in runs.world.vms() if vm.labels["mlbroker-run"] == run_id]
    runs.world.gce.delete(vm, PREEMPTED)
    runs.world.guest.job_s = 60  # type: ignore[attr-defined]
    run = driver.drive(run_id)
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    runs.check(run_id)


@pytest.mark.parametrize("action", ["compute.instances.insert", "compute.instances.delete"])
def test_lost_answers_lead_to_no_second_machine(runs: GcpRuns, run_id: str, action: str) -> None:
    runs.world.faults.lost_after[action] = 3
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    assert len(run.attempts) == 1
    runs.check(run_id)


def test_deletes_that_fail_late_are_insisted_on(runs: GcpRuns, run_id: str) -> None:
    runs.world.faults.guests_may_delete = False
    runs.world.faults.late_deletes = 3
    runs.launch(run_id)
    runs.check(run_id)


def test_a_stranger_in_the_ledgers_project_is_left_alone(runs: GcpRuns, run_id: str) -> None:
    endless(runs.world)
    runs.launch(run_id, "0.6", CANDIDATES[:1])
    stranger = intent(runs.world, run_id + "x")
    runs.cloud.create(stranger, JOB)
    found = runs.reconcile()
    assert [(f.did, f.what) for f in found] == [("foreign", f"us-central1-a/{stranger.token}")]
    seen = runs.cloud.status(f"us-central1-a/{stranger.token}")
    assert seen is not None
    assert seen.state is MachineState.RUNNING
    runs.cloud.terminate(seen.id)
    runs.world.clock.advance(60)


def test_runs_side_by_side_do_not_mix(runs: GcpRuns, run_id: str) -> None:
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
    assert all(runs.world.gce.inserted[f"mlb-{name}-1"] == 1 for name in names)
