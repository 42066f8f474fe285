"""The host of a machine dies: no disk may bill on, whoever is alive to see it."""

from datetime import timedelta

import pytest
from tests.support.gcp.gce import RESTART_S
from tests.support.gcp.runs import GcpRuns, intent
from tests.support.gcp.server import StrictGcp

from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.interface import Payload

JOB = Payload({"command": "true"})


@pytest.fixture
def endless(world: StrictGcp) -> StrictGcp:
    world.guest.job_s = None  # type: ignore[attr-defined]
    world.gce.host_error_after_s = 300
    return world


def test_a_machine_restarts_and_its_second_boot_is_its_end(
    endless: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    wanted = intent(endless, run_id)
    cloud.create(wanted, JOB)
    endless.clock.advance(300)
    (vm,) = endless.vms(wanted.token)
    assert vm.status(endless.clock.now()) == "TERMINATED"
    endless.clock.advance(86400)
    assert vm.gone_at is not None
    assert vm.gone_at < vm.created_at + timedelta(seconds=300 + RESTART_S + 120)


def test_a_spot_machine_stands_still_until_it_is_looked_for(
    endless: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    wanted = intent(endless, run_id, market="spot")
    cloud.create(wanted, JOB)
    endless.clock.advance(86400)
    (vm,) = endless.vms(wanted.token)
    assert vm.gone_at is None
    cloud.find(wanted.tags)
    endless.clock.advance(60)
    assert vm.gone_at is not None


@pytest.mark.parametrize("market", ["spot", "on_demand"])
def test_a_run_goes_on_elsewhere(runs: GcpRuns, run_id: str, market: str) -> None:
    runs.world.gce.host_error_after_s = 120
    run = runs.launch(run_id, None, tuple(c for c in runs.candidates if c.market == market))
    assert [attempt.why for attempt in run.attempts] == ["preempted", "finished"]
    runs.check(run_id)
