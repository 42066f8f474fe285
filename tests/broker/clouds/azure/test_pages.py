"""Every list comes in pages, and whatever stands on the second one counts as much."""

import re

import pytest
from tests.support.azure.catalog import REGIONS, SIZES
from tests.support.azure.runs import intent
from tests.support.azure.server import StrictAzure
from tests.support.loopback_http import TokenRequest

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.doctor import checks
from mlbroker.broker.clouds.azure.network import regions_set_up
from mlbroker.broker.clouds.interface import MachineState, Payload
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.azure.feed import AzureFeed

JOB = Payload({"command": "true"})
# The newest of an image's versions is all that is asked for, and the clock is in every answer.
ONE_PAGE = {"versions"}


def test_no_list_is_left_at_its_first_page(
    world: StrictAzure, cloud: AzureCloud, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    both = [
        intent(world, run_id, token=f"mlb-{run_id}-{number}", attempt=number) for number in (1, 2)
    ]
    for one in both:
        cloud.arm_kill(one)
        cloud.create(one, JOB)
    world.clock.advance(60)
    assert {machine.id for machine in cloud.find({"mlbroker-run": run_id})} == {
        one.token for one in both
    }
    assert regions_set_up(Calls()) == set(REGIONS)
    assert all(cloud.zones_for("eastus", size, None) for size in SIZES)
    _prices_and_quotas(world, monkeypatch)
    list(checks(("eastus",), world.clock.now()))
    for one in both:
        cloud.terminate(one.token)
    world.clock.advance(120)
    # Its making and its end stand on different pages of the log.
    (gone,) = cloud.find(both[0].tags)
    assert (gone.state, None in (gone.started_at, gone.ended_at)) == (
        MachineState.TERMINATED,
        False,
    )
    for one in both:
        cloud.discard(one)
    assert [key for key in world.stored() if key.startswith("runs/")] == []
    lists = {found for request in world.requests if (found := _list(request))} - ONE_PAGE
    assert lists == {"blobs", "resourcegroups", "skus", "usages", "values", "virtualmachines"}
    turned = {
        _list(request)
        for request in world.requests
        if {"$skiptoken", "marker"} & request.query.keys()
    }
    assert turned == lists


def _prices_and_quotas(world: StrictAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "launcher-token")
    # The loopback cloud's time is its own.
    monkeypatch.setattr("mlbroker.broker.http.CLOCK_SKEW_S", float("inf"))
    quotas = AzureFeed().quotas(["eastus"], Http())
    assert {quota.name for quota in quotas} == {"cores", "lowPriorityCores"}


def _list(request: TokenRequest) -> str | None:
    """What is listed: on Azure, the path of a collection names no member of it."""
    if request.query.get("comp") == "list":
        return "blobs"
    found = re.fullmatch(r"/subscriptions/[^/]+/(?:.*providers/[^/]+/)?(.+)", request.path)
    words = found[1].split("/") if found and request.method == "GET" else []
    is_member = words[0:1] == ["resourceGroups"]
    return words[-1].lower() if len(words) % 2 and not is_member else None
