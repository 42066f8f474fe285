"""Machines that really execute: script, first program, courier, job, and their own end."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.live_runs import RESUMES, SECRET, WORK, Live
from tests.support.loopback_guests import processes_of
from tests.support.strict import StrictCloud
from tests.support.vendors import DELETING, Vendor

from mlbroker.broker.ledger import Run
from mlbroker.broker.ledger.state import BROUGHT
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.pricing.homeward import Homeward

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
deleting = pytest.mark.parametrize("vendor", DELETING, indirect=True)
# What the vendor calls the reading of a secret, and how it refuses it.
NO_SECRET = {
    "gcp": ("secretmanager.projects.secrets.versions.access", (403, "forbidden", "no")),
    "azure": ("Microsoft.KeyVault/vaults/secrets/getSecret/action", (403, "Forbidden", "no")),
}


@pytest.fixture(scope="module")
def server(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictCloud]:
    with vendor.standing(tmp_path_factory.mktemp(vendor.name), execute=True) as world:
        world.control.machines.boot_s = 0.2
        world.control.machines.shutdown_s = 0.2
        yield world


@pytest.fixture
def live(
    server: StrictCloud, vendor: Vendor, calls: Any, tmp_path: Path, run_id: str
) -> Iterator[Live]:
    guest = server.guest
    server.calm()
    server.guest = guest
    machines = server.control.machines
    machines.all.clear()
    cloud = vendor.cloud(calls)
    # These machines come and go within a second.
    cloud.traits = replace(cloud.traits, poll_s=0.1, visible_after_s=0.5)
    yield Live(tmp_path / "home", server, cloud, run_id, vendor.runs.candidates)
    for vm in list(machines.living()):
        guest.end(vm)


def test_a_job_runs_and_its_results_come_home(live: Live, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "data.txt").write_text("the data\n")
    live.reserve(WORK, setup="echo setting up")
    pack_workdir(work, live.folder.bundle, {})
    run = live.driver().drive(live.run_id)
    assert (run.outcome, run.attempts[0].exit_code) == ("succeeded", 0)
    assert "setting up" in live.log()
    assert "the data" in live.log()
    assert SECRET not in live.log()
    assert (live.folder.outputs / "model").read_text() == "model\n"
    (vm,) = live.world.vms()
    assert processes_of(vm.id) == []
    assert SECRET not in live.world.guest.console(vm.id)
    assert SECRET not in vm.user_data
    assert live.world.secrets() == []
    assert live.world.denied == []


def test_the_way_home_is_paid_by_what_the_bucket_says_of_the_size(live: Live) -> None:
    way = Homeward(Decimal(1), Decimal("0.001"))
    live.candidates = tuple(replace(option, home=way) for option in live.candidates)
    live.reserve(
        "mkdir -p ckpt; head -c 1500000 /dev/zero > ckpt/step\n"
        'head -c 2000000 /dev/zero > "$MLBROKER_OUTPUT_DIR"/model',
        checkpoint={"path": "ckpt", "every_s": 300},
    )
    run = live.driver().drive(live.run_id)
    assert run.outcome == "succeeded"
    assert (live.folder.outputs / "model").stat().st_size == 2_000_000
    assert live.folder.checkpoint.stat().st_size > 1_500_000
    told = [fact.body[BROUGHT] for fact in live.ledger.facts(live.run_id) if BROUGHT in fact.body]
    assert [each["name"] for each in told] == ["checkpoint.tar", "outputs.1.tar"]
    saved, made = (each["bytes"] for each in told)
    # The log's few bytes are told with the first file.
    saved_bytes = live.folder.checkpoint.stat().st_size
    assert saved_bytes <= saved < saved_bytes + 10_000
    assert 2_000_000 < made < 2_100_000
    assert run.attempt.home_usd == way.usd(0, saved) + way.usd(saved, made) > 0
    assert run.attempt.stays == {}


def test_without_its_client_the_machine_ends_itself(live: Live) -> None:
    live.reserve("echo alone; echo x > x", outputs=[])
    live.carry_until(lambda run: run.state == "created")
    (vm,) = live.world.vms()
    # Nobody looks any more.
    live.wait(lambda: vm.gone_at is not None)
    assert live.world.ended_by(vm) == ["guest"]
    run = live.driver(later=True).drive(live.run_id)
    assert run.outcome == "succeeded"
    assert "alone" in live.log()
    assert (live.folder.outputs / "x").exists()


def test_a_failing_job_is_told_from_a_failing_machine(live: Live) -> None:
    live.reserve("echo no; exit 7")
    run = live.driver().drive(live.run_id)
    assert (run.outcome, run.attempts[0].exit_code) == ("failed", 7)


def test_the_timer_on_the_machine_ends_it_when_the_vendor_does_not(live: Live) -> None:
    live.world.faults.kill_works = False
    live.reserve("trap '' TERM; setsid sleep 1000 & sleep 1000")
    live.carry_until(lambda run: run.state == "running")
    (vm,) = live.world.vms()
    live.world.clock.advance(7200)
    live.wait(lambda: vm.gone_at is not None)
    assert live.world.ended_by(vm) == ["guest"]
    assert processes_of(vm.id) == []


@pytest.mark.parametrize("far", [False, True], ids=["beside", "in another region"])
def test_a_preempted_job_goes_on_from_its_checkpoint(live: Live, far: bool) -> None:
    first, *others = live.candidates
    if far:
        live.candidates = (first, next(o for o in others if o.region != first.region))
    live.reserve(RESUMES, places=2, checkpoint={"path": "ckpt", "every_s": 0.5})

    def is_saved(_: Run) -> bool:
        return any(live.world.get_object(vm, "0/checkpoint.tar") for vm in live.world.vms())

    driver = live.carry_until(is_saved)
    # It stays in the bucket while the machine is there: what leaves a cloud is paid for.
    assert not live.folder.checkpoint.exists()
    (vm,) = live.world.vms()
    live.world.control.preempt(vm)
    run = driver.drive(live.run_id)
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    assert "resumed at 41" in live.log()


def test_several_machines_know_each_other(live: Live, vendor: Vendor) -> None:
    live.reserve(
        'echo "rank $MLBROKER_NODE_RANK of $MLBROKER_NODES, first is $MLBROKER_MASTER_ADDR"; '
        "echo $MLBROKER_NODE_RANK > $MLBROKER_OUTPUT_DIR/rank",
        nodes=2,
    )
    run = live.driver().drive(live.run_id)
    assert run.outcome == "succeeded"
    for rank in range(2):
        folder = live.folder.of_rank(rank)
        assert f"rank {rank} of 2, first is 127.0.0.1" in folder.log.read_text()
        assert (folder.outputs / "rank").read_text() == f"{rank}\n"
    assert len(live.world.vms()) == 2
    if vendor.name in DELETING:
        # By its name a machine knows its rank.
        assert sorted(vm.name for vm in live.world.vms()) == [
            f"mlb-{live.run_id}-1-n{rank}" for rank in range(2)
        ]
    assert all(vm.ends_at for vm in live.world.vms())


def test_one_failing_machine_of_several_ends_the_others_with_nobody_there(live: Live) -> None:
    live.reserve("test $MLBROKER_NODE_RANK = 0 || { echo oh; exit 5; }; sleep 1000", nodes=2)
    live.carry_until(lambda run: run.state == "created")
    live.wait(lambda: all(vm.gone_at for vm in live.world.vms()))
    run = live.driver(later=True).drive(live.run_id)
    assert (run.outcome, run.attempt.exit_code, run.attempt.rank) == ("failed", 5, 1)
    assert "another machine of the run failed" in live.log()
    assert live.folder.of_rank(1).log.read_text() == "oh\n"


@deleting
def test_a_machine_that_may_not_delete_itself_waits_to_be_deleted(live: Live) -> None:
    live.world.faults.guests_may_delete = False
    live.reserve("echo done")
    live.carry_until(lambda run: run.state == "created")
    (vm,) = live.world.vms()
    live.wait(lambda: "cannot delete this machine" in live.world.guest.console(vm.id))
    # It did not shut down: standing still it would bill on.
    assert (vm.stopped_at, vm.ends_at) == (None, None)
    assert live.driver(later=True).drive(live.run_id).outcome == "succeeded"
    assert vm.ends_at is not None


@deleting
def test_a_machine_that_cannot_start_its_job_says_why(
    live: Live, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = live.world
    action, refusal = NO_SECRET[vendor.name]
    world.faults.errors[action] = refusal
    # Its console goes with it: it goes when that was read.
    machines, console = world.control.machines, world.guest.console
    monkeypatch.setattr(machines, "shutdown_s", 600.0)

    def read(id_: str) -> str:
        text: str = console(id_)
        if "answered 403" in text:
            machines.shutdown_s = 0.2
            world.clock.advance(600)
        return text

    monkeypatch.setattr(world.guest, "console", read)
    live.reserve("echo never")
    run = live.driver().drive(live.run_id)
    assert run.outcome == "lost"
    assert "answered 403" in live.folder.console(1).read_text()
