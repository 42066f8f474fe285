"""Machines that really execute: script, first program, courier, job, and their own end."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.aws.guests import processes_of
from tests.support.azure.rights import GUEST, LAUNCHER
from tests.support.azure.runs import PRICE, TYPE
from tests.support.azure.server import StrictAzure, environment, serving
from tests.support.live_runs import RESUMES, SECRET, WORK, Live

from mlbroker.broker.clouds.azure import AzureCloud
from mlbroker.broker.clouds.azure_calls import Calls
from mlbroker.broker.runs.bundle import pack_workdir
from mlbroker.broker.runs.order import Candidate

END = "Microsoft.Resources/subscriptions/resourceGroups/delete"


class QuickCloud(AzureCloud):
    """Looks often: these machines come and go within a second."""

    traits = replace(AzureCloud.traits, poll_s=0.1, visible_after_s=0.5)


def place(zone: str | None, nodes: int) -> Candidate:
    return Candidate("azure", "eastus", TYPE, "spot", nodes, PRICE, zone=zone or "eastus-1")


@pytest.fixture(scope="module")
def azure_server() -> Iterator[StrictAzure]:
    with pytest.MonkeyPatch.context() as patch, serving(execute=True) as world:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        world.arm.boot_s = 0.2
        world.arm.shutdown_s = 0.2
        yield world


@pytest.fixture
def live(azure_server: StrictAzure, calls: Calls, tmp_path: Path, run_id: str) -> Iterator[Live]:
    guest = azure_server.guest
    azure_server.calm()
    azure_server.guest = guest
    azure_server.arm.estate.vms.clear()
    yield Live(tmp_path / "home", azure_server, QuickCloud(calls), run_id, place)
    for vm in azure_server.arm.estate.living():
        guest.end(vm)  # type: ignore[arg-type]


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
    assert live.world.vault.names() == []
    assert live.world.denied == []


def test_without_its_client_the_machine_ends_itself_and_its_group(
    live: Live, tmp_path: Path
) -> None:
    live.reserve("echo alone; mkdir -p $MLBROKER_OUTPUT_DIR; echo x > $MLBROKER_OUTPUT_DIR/x")
    live.carry_until(lambda run: run.state == "created")
    (vm,) = live.world.vms()
    # Nobody looks any more.
    live.wait(lambda: vm.gone_at is not None)
    assert (GUEST, END) in live.world.calls
    assert (LAUNCHER, END) not in live.world.calls
    run = live.driver(later=True).drive(live.run_id)
    assert run.outcome == "succeeded"
    assert "alone" in live.log()
    assert (live.folder.outputs / "x").exists()


def test_a_failing_job_is_told_from_a_failing_machine(live: Live) -> None:
    live.reserve("echo no; exit 7")
    run = live.driver().drive(live.run_id)
    assert (run.outcome, run.attempts[0].exit_code) == ("failed", 7)


def test_the_timer_on_the_machine_ends_it_when_the_logic_app_does_not(live: Live) -> None:
    live.world.faults.workflows_work = False
    live.reserve("trap '' TERM; setsid sleep 1000 & sleep 1000")
    live.carry_until(lambda run: run.state == "running")
    (vm,) = live.world.vms()
    live.world.clock.advance(7200)
    live.wait(lambda: vm.gone_at is not None)
    assert (GUEST, END) in live.world.calls
    assert (LAUNCHER, END) not in live.world.calls
    assert processes_of(vm.id) == []


def test_a_preempted_job_goes_on_from_its_checkpoint(live: Live) -> None:
    live.reserve(
        RESUMES,
        zones=("eastus-1", "eastus-2"),
        checkpoint={"path": "ckpt", "every_s": 0.5},
    )
    driver = live.carry_until(lambda run: live.folder.checkpoint.exists())
    (vm,) = live.world.vms()
    live.world.arm.evict(vm)
    run = driver.drive(live.run_id)
    assert [a.why for a in run.attempts] == ["preempted", "finished"]
    assert "resumed at 41" in live.log()


def test_several_machines_know_each_other(live: Live) -> None:
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


def test_a_machine_that_cannot_start_its_job_says_why(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.world.faults.errors["Microsoft.KeyVault/vaults/secrets/getSecret/action"] = (
        403,
        "Forbidden",
        "no",
    )
    # Time to read what it says: its console goes with it.
    monkeypatch.setattr(live.world.arm, "shutdown_s", 5.0)
    live.reserve("echo never")
    run = live.driver().drive(live.run_id)
    assert run.outcome == "lost"
    assert "answered 403" in live.folder.console(1).read_text()
