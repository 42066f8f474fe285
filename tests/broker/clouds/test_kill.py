"""The two kill switches, each alone, with nobody looking; and whole runs with their troubles."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import DELETING, Vendor

from mlbroker.broker.clouds.interface import Denied, MachineState, Payload
from mlbroker.broker.ledger import State

JOB = Payload({"command": "true"})
deleting = pytest.mark.parametrize("vendor", DELETING, indirect=True)


def endless(world: StrictCloud) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]


@pytest.mark.parametrize("market", ["spot", "on_demand"])
def test_the_vendor_ends_the_machine_though_its_own_timer_is_broken(
    world: StrictCloud, cloud: Any, vendor: Vendor, run_id: str, market: str
) -> None:
    endless(world)
    world.guest.timer = False  # type: ignore[attr-defined]
    wanted = vendor.intent(world, run_id, market=market)
    cloud.arm_kill(wanted)
    cloud.create(wanted, JOB)
    world.clock.advance(30 * 86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    slack = timedelta(seconds=cloud.traits.kill_slack_s)
    assert wanted.kill_at <= vm.gone_at <= wanted.kill_at + slack


def test_the_machines_own_timer_ends_it_though_the_vendor_does_not(
    world: StrictCloud, cloud: Any, vendor: Vendor, run_id: str
) -> None:
    endless(world)
    world.faults.kill_works = False
    wanted = vendor.intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.create(wanted, JOB)
    world.clock.advance(86400)
    (vm,) = world.vms(wanted.token)
    assert vm.gone_at is not None
    later = timedelta(seconds=vendor.timer_later_s)
    assert vm.ends_at == wanted.kill_at.replace(microsecond=0) + later
    assert vm.gone_at <= wanted.kill_at + timedelta(seconds=cloud.traits.kill_slack_s)


def test_for_a_proof_the_machines_own_timer_waits_until_the_vendor_should_have_ended_it(
    world: StrictCloud, cloud: Any, vendor: Vendor, run_id: str
) -> None:
    endless(world)
    world.faults.kill_works = False
    wanted = vendor.intent(world, run_id, guest_late_s=900)
    cloud.arm_kill(wanted)
    cloud.create(wanted, JOB)
    world.clock.advance(86400)
    (vm,) = world.vms(wanted.token)
    later = timedelta(seconds=vendor.timer_later_s + 900)
    assert vm.ends_at == wanted.kill_at.replace(microsecond=0) + later


def test_a_clock_that_is_ahead_would_outlive_the_cap_and_is_refused(
    world: StrictCloud, cloud: Any, vendor: Vendor, run_id: str
) -> None:
    early = world.clock.now() + timedelta(seconds=120)
    with pytest.raises(Denied, match=rf"1[12]\d s ahead of {vendor.says}'s"):
        cloud.arm_kill(vendor.intent(world, run_id, intended_at=early))
    assert world.vms(f"mlb-{run_id}-1") == []
    cloud.arm_kill(vendor.intent(world, run_id, intended_at=early - timedelta(seconds=240)))
    assert world.vms(f"mlb-{run_id}-1") == []


@deleting
def test_a_machine_that_may_not_delete_itself_is_deleted_when_it_is_looked_for(
    runs: CloudRuns, run_id: str
) -> None:
    runs.world.faults.guests_may_delete = False
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    runs.check(run_id)


def test_a_run_takes_the_first_place_and_leaves_nothing_but_its_ledger(
    runs: CloudRuns, run_id: str
) -> None:
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    first = runs.candidates[0]
    assert [(a.region, a.zone) for a in run.attempts] == [(first.region, first.zone)]
    runs.check(run_id)
    assert not [key for key in runs.world.stored() if f"mlb-{run_id}-" in key]


def test_a_preempted_run_goes_on_elsewhere_within_its_cap(runs: CloudRuns, run_id: str) -> None:
    runs.world.control.preempt_after_s = 100
    run = runs.launch(run_id)
    first, second, *_ = runs.candidates
    assert [(a.why, a.zone) for a in run.attempts] == [
        ("preempted", first.zone),
        ("finished", second.zone),
    ]
    runs.check(run_id)


def test_a_machine_taken_without_a_word_is_known_as_preempted(runs: CloudRuns, run_id: str) -> None:
    endless(runs.world)
    runs.reserve(run_id)
    driver = runs.driver(run_id, {})
    while driver.advance(run_id).state is not State.RUNNING:
        pass
    (vm,) = runs.vms(run_id)
    runs.world.control.take_away(vm)
    runs.world.guest.job_s = 60
    run = driver.drive(run_id)
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    runs.check(run_id)


@pytest.mark.parametrize("request_", ["make", "delete"])
def test_lost_answers_lead_to_no_second_machine(
    runs: CloudRuns, vendor: Vendor, run_id: str, request_: str
) -> None:
    runs.world.faults.lost_after[getattr(vendor, request_)] = 3
    run = runs.launch(run_id)
    assert run.outcome == "succeeded"
    assert len(run.attempts) == 1
    runs.check(run_id)


class Died(Exception):
    """The client, once it had asked for a machine and before it wrote that down."""


@pytest.mark.parametrize("later_h", [0.1, 30 * 24, 100 * 24])
def test_a_machine_that_nobody_wrote_down_is_in_the_books_though_its_vendor_forgot_it(
    runs: CloudRuns, run_id: str, monkeypatch: pytest.MonkeyPatch, later_h: float
) -> None:
    made = type(runs.cloud).create

    def dies(*asked: Any) -> None:
        made(runs.cloud, *asked)
        raise Died

    runs.reserve(run_id)
    with monkeypatch.context() as patch:
        patch.setattr(runs.cloud, "create", dies)
        with pytest.raises(Died):
            runs.driver(run_id, {}).drive(run_id)
    runs.world.clock.advance(later_h * 3600)
    runs.wind_up()
    run = runs.ledger.run(run_id)
    assert run is not None
    assert run.spent_usd >= runs.billed_usd(run_id) > 0
    # Where it is forgotten, all that it may have cost is charged, and that is said.
    forgotten = run.attempt.machine_id is None
    assert forgotten == (later_h * 3600 > runs.cloud.traits.remembers_s)
    assert forgotten == run.spent_at_most == ("may have forgotten" in (run.detail or ""))
    runs.check(run_id)


@pytest.mark.parametrize("later_h", [0.0, 1.0])
def test_only_what_may_be_forgotten_is_charged_unseen(
    runs: CloudRuns, vendor: Vendor, run_id: str, later_h: float
) -> None:
    runs.reserve(run_id)
    driver = runs.driver(run_id, {})
    while driver.advance(run_id).state is not State.ARMED:
        pass
    runs.world.clock.advance(later_h * 3600)
    runs.wind_up()
    run = runs.ledger.run(run_id)
    assert run is not None
    assert run.outcome == "abandoned"
    assert (run.spent_usd > 0) == (later_h * 3600 >= runs.cloud.traits.remembers_s)
    runs.check(run_id)


@deleting
def test_deletes_that_fail_late_are_insisted_on(runs: CloudRuns, run_id: str) -> None:
    runs.world.faults.guests_may_delete = False
    runs.world.faults.late_deletes = 3
    runs.launch(run_id)
    runs.check(run_id)


def test_a_stranger_in_the_ledgers_account_is_left_alone(
    runs: CloudRuns, vendor: Vendor, run_id: str
) -> None:
    endless(runs.world)
    runs.launch(run_id, vendor.small_cap, runs.candidates[:1])
    stranger = vendor.intent(runs.world, run_id + "x")
    runs.cloud.arm_kill(stranger)
    id_ = runs.cloud.create(stranger, JOB).id
    runs.world.clock.advance(30)
    found = runs.reconcile()
    assert [(f.did, f.what) for f in found] == [("foreign", id_)]
    seen = runs.cloud.status(id_)
    assert seen is not None
    assert seen.state is MachineState.RUNNING
    runs.cloud.terminate(id_)
    runs.world.clock.advance(60)


def test_runs_side_by_side_do_not_mix(runs: CloudRuns, run_id: str) -> None:
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
    assert all(runs.world.control.made[f"mlb-{name}-1"] == 1 for name in names)
