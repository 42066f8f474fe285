"""What the launcher does with answers that every vendor gives in its own words."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import DELETING, Vendor

from mlbroker.broker.clouds.interface import Intent, Machine, MachineState, Payload, Unclear

JOB = Payload({"command": "true"})
deleting = pytest.mark.parametrize("vendor", DELETING, indirect=True)


@pytest.fixture
def wanted(world: StrictCloud, cloud: Any, vendor: Vendor, run_id: str) -> Intent:
    """A spot machine, whose kill switch is armed."""
    intent: Intent = vendor.intent(world, run_id, market="spot")
    cloud.arm_kill(intent)
    return intent


def seen(cloud: Any, machine: Machine) -> Machine:
    found: Machine | None = cloud.status(machine.id)
    assert found is not None
    return found


def test_a_second_create_finds_the_first_machine(
    world: StrictCloud, cloud: Any, vendor: Vendor, wanted: Intent
) -> None:
    assert cloud.create(wanted, JOB).id == vendor.cloud().create(wanted, JOB).id
    assert len(world.vms(wanted.token)) == 1
    assert world.control.made[wanted.token] == 1


def test_no_answer_is_unclear_and_asking_again_makes_no_second_machine(
    world: StrictCloud, cloud: Any, vendor: Vendor, wanted: Intent
) -> None:
    world.faults.lost_after[vendor.make] = 1
    with pytest.raises(Unclear, match="no answer"):
        cloud.create(wanted, JOB)
    (found,) = cloud.find(wanted.tags)
    assert cloud.create(wanted, JOB).id == found.id
    assert len(world.vms(wanted.token)) == 1
    assert world.control.made[wanted.token] == 1


# On Azure its group went with it, and nothing can be made any more.
@pytest.mark.parametrize("vendor", ["aws", "gcp"], indirect=True)
def test_the_token_of_an_ended_machine_gives_that_machine(
    world: StrictCloud, cloud: Any, wanted: Intent
) -> None:
    machine = cloud.create(wanted, JOB)
    cloud.terminate(machine.id)
    world.clock.advance(60)
    again = cloud.create(wanted, JOB)
    assert (again.id, again.state) == (machine.id, MachineState.TERMINATED)
    assert world.control.made[wanted.token] == 1


def test_a_new_machine_is_unknown_for_a_while(
    world: StrictCloud, cloud: Any, wanted: Intent
) -> None:
    world.control.machines.hidden_s = 40
    machine = cloud.create(wanted, JOB)
    assert machine.state is MachineState.PENDING
    assert cloud.status(machine.id) is None
    assert cloud.find(wanted.tags) == []
    world.clock.advance(41)
    assert seen(cloud, machine).state is MachineState.RUNNING


def test_ended_is_told_with_the_vendors_own_times(
    world: StrictCloud, cloud: Any, runs: CloudRuns, run_id: str, wanted: Intent
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    machine = cloud.create(wanted, JOB)
    world.clock.advance(100)
    cloud.terminate(machine.id)
    assert seen(cloud, machine).state is MachineState.TERMINATING
    world.clock.advance(120)
    gone = seen(cloud, machine)
    assert gone.state is MachineState.TERMINATED
    (life,) = runs.lives(run_id)
    assert gone.started_at is not None
    assert (gone.started_at, gone.ended_at) == (life.began_at, life.ended_at)
    assert gone.tags == wanted.tags
    assert not gone.preempted
    assert [found.id for found in cloud.find(wanted.tags)] == [machine.id]


def test_a_machine_taken_away_is_told_from_an_ended_one(
    world: StrictCloud, cloud: Any, wanted: Intent
) -> None:
    machine = cloud.create(wanted, JOB)
    world.control.take_away(world.vms(wanted.token)[0])
    world.clock.advance(60)
    found = seen(cloud, machine)
    assert (found.state, found.preempted) == (MachineState.TERMINATED, True)


@deleting
def test_a_machine_that_stands_still_goes_as_soon_as_it_is_seen(
    world: StrictCloud, cloud: Any, wanted: Intent
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    machine = cloud.create(wanted, JOB)
    (vm,) = world.vms(wanted.token)
    world.power_off(vm)
    assert seen(cloud, machine).state is MachineState.TERMINATING
    world.clock.advance(120)
    assert vm.gone_at is not None


def test_what_the_guest_left_is_read_and_then_removed(
    world: StrictCloud, cloud: Any, wanted: Intent, tmp_path: Path
) -> None:
    cloud.create(wanted, JOB)
    world.clock.advance(60)
    (vm,) = world.vms(wanted.token)
    world.put_object(vm, "0/log/000000000000008", b"going\n")
    world.put_object(vm, "0/checkpoint.tar", b"weights" * 1_000_000)
    assert cloud.read_log(wanted, 0) == b"started\n"
    assert cloud.read_log(wanted, 8) == b"going\n"
    assert cloud.read_log(wanted, 10) == b"ing\n"
    assert cloud.read_log(wanted, 14) == b""
    assert cloud.fetch(wanted, "checkpoint.tar", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"weights" * 1_000_000
    assert not cloud.fetch(wanted, "outputs.tar", tmp_path / "o")
    report = cloud.report(wanted)
    assert report.status is not None
    assert report.status.phase == "running"
    cloud.discard(wanted)
    assert cloud.report(wanted).status is None


def test_a_large_bundle_arrives_whole(
    world: StrictCloud, cloud: Any, wanted: Intent, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_bytes(bytes(range(256)) * 100_000)
    cloud.create(wanted, Payload({"command": "true"}, bundle=bundle))
    (vm,) = world.vms(wanted.token)
    assert world.get_object(vm, "bundle.tar.gz") == bundle.read_bytes()
