"""Every list comes in pages, and whatever stands on the second one counts as much."""

from collections.abc import Iterator

import pytest
from tests.support.gcp.catalog import REGIONS
from tests.support.gcp.rights import needs
from tests.support.gcp.runs import intent
from tests.support.gcp.server import StrictGcp

from mlbroker.broker.clouds.gcp.calls import Calls
from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.gcp.doctor import checks
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.network import regions_set_up, spot_in
from mlbroker.broker.clouds.gcp.roles import LAUNCHER
from mlbroker.broker.clouds.interface import Denied, MachineState, Payload
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.gcp.feed import GcpFeed
from mlbroker.broker.prices.feeds.gcp.rest import Google

JOB = Payload({"command": "true"})
T4 = "n1-standard-4+nvidia-tesla-t4:1"
NAMES = Names("loopback-project", "us-central1")


@pytest.fixture
def paged(world: StrictGcp) -> Iterator[StrictGcp]:
    """One thing a page."""
    world.faults.page = 1
    world.guest.job_s = None  # type: ignore[attr-defined]
    yield world
    world.calm()


def test_machines_and_what_became_of_them(paged: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    here, there = (
        intent(paged, run_id, token=f"mlb-{run_id}-{number}", attempt=number, zone=zone)
        for number, zone in ((1, "us-central1-a"), (2, "us-central1-c"))
    )
    made = {cloud.create(one, JOB).id for one in (here, there)}
    tags = {"mlbroker-run": run_id}
    assert {machine.id for machine in cloud.find(tags)} == made
    for machine in made:
        cloud.terminate(machine)
    paged.clock.advance(120)
    # Its insertion and its deletion stand on different pages.
    (gone,) = cloud.find(there.tags)
    assert gone.state is MachineState.TERMINATED
    assert None not in (gone.started_at, gone.ended_at)
    assert cloud.status(gone.id) == gone
    for one in (here, there):
        cloud.discard(one)
    assert [key for key in paged.stored() if key.startswith("runs/")] == []


def test_places(paged: StrictGcp, calls: Calls, cloud: GcpCloud) -> None:
    assert regions_set_up(calls) == set(REGIONS)
    assert len(cloud.zones_for("us-central1", T4, None)) == 3
    paged.gce.networks.add_nat("europe-west4")
    paged.gce.networks.add_nat("us-central1")
    paged.gce.networks.add_nat("us-central1")
    paged.gce.networks.routers[1]["nats"] = []
    assert not spot_in(calls, NAMES).needs_address
    paged.gce.networks.open_to_all("us-central1")
    with pytest.raises(Denied, match="lets others into"):
        spot_in(calls, NAMES)


def test_prices_and_quotas(paged: StrictGcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLBROKER_GCP_COMPUTE_URL", paged.url)
    # The loopback cloud's time is its own.
    monkeypatch.setattr("mlbroker.broker.http.CLOCK_SKEW_S", float("inf"))
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "launcher-token")
    quotas = GcpFeed().quotas(REGIONS, Http())
    assert {quota.region for quota in quotas} == set(REGIONS)
    accelerators = list(Google(Http()).zonal("acceleratorTypes"))
    assert {region for region, _ in accelerators} == set(REGIONS)
    assert len(accelerators) == 4 * 9


def test_no_list_was_left_at_its_first_page(
    paged: StrictGcp,
    calls: Calls,
    cloud: GcpCloud,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the launcher has a right to list is listed here, and each list has a second page."""
    test_machines_and_what_became_of_them(paged, cloud, run_id)
    test_places(paged, calls, cloud)
    test_prices_and_quotas(paged, monkeypatch)
    paged.gce.networks.firewalls.pop()
    list(checks(("us-central1",), paged.clock.now()))
    lists = {action for _, action in paged.calls if action.lower().endswith("list")}
    turned = {
        request.action
        for request in paged.requests
        if {"pageToken", "continuation-token"} & request.query.keys()
    }
    assert lists == turned
    # The disks of one attempt, which a proof looks for, are on one page.
    allowed = {right for right in LAUNCHER if right.endswith(".list")} - {"compute.disks.list"}
    assert {right for action in lists for right in needs(action)} == allowed
