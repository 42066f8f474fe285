"""What the launcher does with each answer of Azure, on the strict server."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from tests.support.azure.catalog import ALMA, SUBSCRIPTION
from tests.support.azure.rights import needs
from tests.support.azure.runs import CANDIDATES, AzureRuns, intent
from tests.support.azure.server import StrictAzure
from tests.support.cloud_runs import PRICE
from tests.support.loopback_http import GUEST, LAUNCHER

from mlbroker.broker.clouds.azure import calls as azure_calls
from mlbroker.broker.clouds.azure import roles as azure_roles
from mlbroker.broker.clouds.azure.bill import billed
from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.doctor import checks
from mlbroker.broker.clouds.azure.proof import ended_by, remains
from mlbroker.broker.clouds.interface import (
    Denied,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
    Unfit,
)
from mlbroker.broker.errors import CloudError
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.azure.feed import AzureFeed

JOB = Payload({"command": "true"})
REFUSED = (403, "AuthorizationFailed", "does not have authorization")
MAKE = "Microsoft.Compute/virtualMachines/write"
SIZE = "Standard_D2s_v5"
T4 = "Standard_NC4as_T4_v3"


def make(cloud: AzureCloud, wanted: Any, payload: Payload = JOB) -> Any:
    cloud.arm_kill(wanted)
    return cloud.create(wanted, payload)


def asked(world: StrictAzure, action: str = MAKE) -> list[Any]:
    """The bodies of all requests of this kind."""
    return [json.loads(r.body or b"null") for r in world.requests if r.action == action]


def test_a_machine_is_asked_for_on_condition_that_there_is_none(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    make(cloud, wanted)
    cloud.create(wanted, JOB)
    assert [r.header("if-none-match") for r in world.requests if r.action == MAKE] == ["*", "*"]


def test_nothing_is_made_before_its_end_is_armed(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    with pytest.raises(Denied, match="ResourceGroupNotFound"):
        cloud.create(wanted, JOB)
    cloud.arm_kill(wanted)
    writes = [action for _, action in world.calls if action.endswith("/write")]
    assert writes[-5:] == [
        "Microsoft.Logic/workflows/write",
        "Microsoft.Resources/subscriptions/resourceGroups/write",
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.Network/publicIPAddresses/write",
        "Microsoft.Network/networkInterfaces/write",
    ]
    assert wanted.token in world.arm.workflows.all


def test_a_request_that_comes_after_the_cancellation_makes_nothing(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.cancel(wanted)
    with pytest.raises(Denied, match="ResourceGroupBeingDeleted"):
        cloud.create(wanted, JOB)
    world.clock.advance(120)
    with pytest.raises(Denied, match="ResourceGroupNotFound"):
        cloud.create(wanted, JOB)
    assert world.vms(wanted.token) == []


def test_disarming_leaves_neither_group_nor_logic_app(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    cloud.disarm_kill(wanted)
    assert world.arm.machines.group(wanted.token) is None
    assert wanted.token not in world.arm.workflows.all
    cloud.disarm_kill(wanted)


def test_the_kill_switch_stays_armed_until_the_group_is_gone(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    world.faults.late_deletes = 1
    with pytest.raises(Unclear, match="still there"):
        cloud.disarm_kill(wanted)
    assert wanted.token in world.arm.workflows.all
    cloud.disarm_kill(wanted)
    assert wanted.token not in world.arm.workflows.all


def test_an_operation_that_does_not_end_is_unclear(
    world: StrictAzure, cloud: AzureCloud, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_calls, "WAIT_S", 1.0)
    world.faults.stuck = 1
    wanted = intent(world, run_id)
    with pytest.raises(Unclear, match="does not come to an end"):
        make(cloud, wanted)
    assert len(cloud.find(wanted.tags)) == 1
    # The library's thread goes on asking, and each time the clock would move: in later tests too.
    world.clock.advance(3600)


def test_while_the_activity_log_is_late_nothing_is_claimed(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    machine = make(cloud, intent(world, run_id))
    world.faults.log_works = False
    cloud.terminate(machine.id)
    world.clock.advance(120)
    assert cloud.status(machine.id) is None


@pytest.mark.parametrize(
    ("prepare", "changes", "kind", "says"),
    [
        ({"capacity": {(SIZE, "*", "*"): 0}}, {}, NoCapacity, "AllocationFailed"),
        ({"quotas": {("cores", "eastus"): 1}}, {}, NoQuota, "Total Regional Cores quota"),
        (
            {"quotas": {("lowPriorityCores", "*"): 0}},
            {"market": "spot"},
            NoQuota,
            "LowPriorityCores",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_each_no_is_told_apart_and_leaves_no_machine(
    world: StrictAzure,
    cloud: AzureCloud,
    run_id: str,
    prepare: dict[str, dict[Any, int]],
    changes: dict[str, object],
    kind: type[CloudError],
    says: str,
    at_once: bool,
) -> None:
    limits = world.arm.limits
    limits.at_once = at_once
    limits.capacity.update(prepare.get("capacity", {}))
    limits.quotas.update(prepare.get("quotas", {}))
    wanted = intent(world, run_id, **changes)
    with pytest.raises(kind, match=says) as refused:
        make(cloud, wanted)
    assert type(refused.value) is kind
    assert refused.value.made_nothing
    assert world.arm.machines.living(wanted.token) == []
    assert cloud.find(wanted.tags) == []


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


@pytest.mark.parametrize("trouble", ["one is made", "it stays", "nobody may ask"])
def test_a_no_that_may_have_left_something_is_not_for_certain(
    world: StrictAzure, cloud: AzureCloud, run_id: str, trouble: str
) -> None:
    nodes = 2 if trouble == "one is made" else 1
    wanted = intent(world, run_id, nodes=nodes)
    if trouble == "nobody may ask":
        world.faults.errors["Microsoft.Compute/locations/operations/read"] = REFUSED
    else:
        world.arm.limits.capacity[SIZE, "*", "*"] = nodes - 1
    if trouble == "it stays":
        world.faults.errors["Microsoft.Compute/virtualMachines/delete"] = REFUSED
    with pytest.raises(CloudError) as refused:
        make(cloud, wanted)
    assert not isinstance(refused.value, Unclear)
    assert not refused.value.made_nothing


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (409, "SkuNotAvailable", "The requested VM size is currently not available", NoCapacity),
        (409, "ZonalAllocationFailed", "We do not have sufficient capacity", NoCapacity),
        (409, "OperationNotAllowed", "exceeding approved standardDSv5Family Cores quota", NoQuota),
        (409, "QuotaExceeded", "Too many cores", NoQuota),
        (409, "OperationNotAllowed", "The VM is being stopped", Denied),
        (429, "TooManyRequests", "Slow down, the read quota is used", Unclear),
        (503, "ServerUnavailable", "Later", Unclear),
        (403, "AuthorizationFailed", "does not have authorization", Denied),
        (404, "PlatformImageNotFound", "The platform image is not available", Unfit),
        (400, "InvalidAvailabilityZone", "The zone(s) '3' are not supported", Unfit),
        (400, "InvalidParameter", "The value of parameter adminUsername is invalid", Denied),
        (409, "OperationNotAllowed", "max price '1' is lower than the current", NoCapacity),
    ],
)
def test_azures_words_become_the_five_that_a_run_knows(
    world: StrictAzure,
    cloud: AzureCloud,
    run_id: str,
    status: int,
    code: str,
    message: str,
    kind: type[CloudError],
) -> None:
    world.faults.errors[MAKE] = (status, code, message)
    with pytest.raises(kind, match=code) as refused:
        make(cloud, intent(world, run_id))
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"instance_type": "Standard_X99"}, "not offered in eastus"),
        ({"instance_type": "Standard_X99", "zone": None}, "not offered in eastus"),
        ({"region": "japaneast", "zone": None}, "japaneast"),
        ({"image_id": "docker:python"}, "not an image of Azure"),
        ({"image_id": "none:none:none:latest"}, "VMImage was not found"),
        ({"instance_type": "Standard_ND128isr_GB200_v6"}, "knows no image with NVIDIA"),
        ({"disk_gb": 5}, "diskSizeGB"),
        ({"zone": "eastus-9"}, "InvalidAvailabilityZone"),
    ],
)
def test_wrong_wishes_are_refused(
    world: StrictAzure, cloud: AzureCloud, run_id: str, changes: dict[str, object], says: str
) -> None:
    wanted = intent(world, run_id, **changes)
    if wanted.region == "eastus":
        cloud.arm_kill(wanted)
    with pytest.raises(CloudError) as refused:
        cloud.create(wanted, JOB)
    assert says in str(refused.value)
    assert not isinstance(refused.value, Unclear)
    assert world.vms(wanted.token) == []


@pytest.mark.parametrize(
    ("size", "sku", "disk", "is_trusted"),
    [
        (SIZE, "server", "Premium_LRS", True),
        ("Standard_A1_v2", "server-gen1", "StandardSSD_LRS", False),
        (T4, "2204", "Premium_LRS", False),
    ],
)
def test_image_and_disk_are_told_by_the_size(
    world: StrictAzure,
    cloud: AzureCloud,
    run_id: str,
    size: str,
    sku: str,
    disk: str,
    is_trusted: bool,
) -> None:
    make(cloud, intent(world, run_id, instance_type=size))
    (body,) = asked(world)
    storage = body["properties"]["storageProfile"]
    assert storage["imageReference"]["sku"] == sku
    assert storage["osDisk"]["managedDisk"]["storageAccountType"] == disk
    assert ("securityProfile" in body["properties"]) == is_trusted


MARKETPLACE = "almalinux:almalinux-x86_64:9-gen2"


def test_an_image_with_a_plan_is_asked_for_with_it_once_its_terms_are_accepted(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id, image_id=f"{MARKETPLACE}:latest")
    with pytest.raises(Denied, match="legal terms") as refused:
        make(cloud, wanted)
    terms = "--publisher almalinux --offer almalinux-x86_64 --plan 9-gen2"
    assert str(refused.value.hint).endswith(f"az vm image terms accept {terms}")
    world.control.terms_accepted.add(MARKETPLACE)
    make(cloud, wanted)
    plan = {"publisher": "almalinux", "product": "almalinux-x86_64", "name": "9-gen2"}
    assert [body["plan"] for body in asked(world)] == [plan, plan]


IMAGES = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers/Microsoft.Compute"
ALMAS = {
    "id": f"{IMAGES}/galleries/ours/images/alma",
    "communityGalleryImageId": "/CommunityGalleries/alma-1f2e/Images/alma",
    "sharedGalleryImageId": "/SharedGalleries/1f2e-ALMA/Images/alma",
}


@pytest.mark.parametrize("version", ["", "/versions/1.0.0"])
@pytest.mark.parametrize("kind", ALMAS)
def test_a_copy_in_a_gallery_carries_the_plan_of_what_it_was_made_from(
    world: StrictAzure, cloud: AzureCloud, run_id: str, kind: str, version: str
) -> None:
    world.control.terms_accepted.add(MARKETPLACE)
    named = ALMAS[kind] + version
    make(cloud, intent(world, run_id, image_id=named))
    (body,) = asked(world)
    assert body["properties"]["storageProfile"]["imageReference"] == {kind: named}
    assert body["plan"] == ALMA
    assert world.denied == []


def test_an_image_of_a_gallery_without_a_plan_is_asked_for_without_one(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    make(cloud, intent(world, run_id, image_id=f"{IMAGES}/galleries/ours/images/plain"))
    assert "plan" not in asked(world)[0]


def test_a_copy_that_cannot_tell_its_plan_is_told_where_to_keep_it(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    with pytest.raises(Denied, match="requires Plan information") as refused:
        make(cloud, intent(world, run_id, image_id=f"{IMAGES}/images/snapshot"))
    assert "az sig image-definition create" in str(refused.value.hint)
    assert world.denied == []


@pytest.mark.parametrize(
    "image",
    [
        "/CommunityGalleries/none/Images/none",
        f"{IMAGES}/galleries/ours/images/none/versions/1.0.0",
        f"{IMAGES}/images/none",
        "none:none:none:1.0.0",
        "none:none:none:latest",
    ],
)
def test_an_image_that_this_region_lacks_leads_elsewhere(
    world: StrictAzure, cloud: AzureCloud, run_id: str, image: str
) -> None:
    with pytest.raises(Unfit):
        make(cloud, intent(world, run_id, image_id=image))
    assert world.vms(intent(world, run_id).token) == []


@pytest.mark.parametrize(
    ("size", "image", "says"),
    [
        ("Standard_DC2as_v5", None, "security type"),
        ("Standard_D2ps_v5", "Canonical:ubuntu-24_04-lts:server:latest", "CPU Architecture"),
        ("Standard_A1_v2", "Canonical:ubuntu-24_04-lts:server:latest", "Hypervisor Generation"),
        ("Standard_ND128isr_GB200_v6", None, "no image with NVIDIA"),
    ],
)
def test_a_size_that_is_refused_leads_to_others(
    world: StrictAzure, cloud: AzureCloud, run_id: str, size: str, image: str | None, says: str
) -> None:
    with pytest.raises(Unfit, match=says) as refused:
        make(cloud, intent(world, run_id, instance_type=size, image_id=image))
    assert refused.value.made_nothing


@pytest.mark.parametrize(("most", "is_made"), [("0.02", False), ("0.025", True)])
def test_a_spot_price_that_rose_is_met_by_the_head_room_or_leads_elsewhere(
    world: StrictAzure, cloud: AzureCloud, run_id: str, most: str, is_made: bool
) -> None:
    world.arm.reprice(0.021)
    wanted = intent(world, run_id, market="spot", price_per_hour_usd=Decimal("0.02"))
    wanted = replace(wanted, max_price_per_hour_usd=Decimal(most))
    if is_made:
        make(cloud, wanted)
    else:
        with pytest.raises(NoCapacity, match="lower than the current spot price"):
            make(cloud, wanted)
    assert len(world.vms(wanted.token)) == is_made


@pytest.mark.parametrize(("price", "ends"), [(4.4, ["finished"]), (4.6, ["preempted", "finished"])])
def test_a_spot_price_that_rises_while_a_machine_runs_is_paid_or_evicts_it(
    runs: AzureRuns, run_id: str, price: float, ends: list[str]
) -> None:
    spot = replace(CANDIDATES[0], max_price_per_hour_usd=Decimal("4.5"))
    world = runs.world
    world.guest.job_s = 120.0
    world.clock.after(60.0, lambda: world.arm.reprice(price))
    run = runs.launch(run_id, candidates=(spot, CANDIDATES[3]))
    assert [attempt.why for attempt in run.attempts] == ends
    runs.check(run_id)
    # Nobody tells what was paid: the maximum is charged, and is no less.
    over = next(fact.body for fact in runs.ledger.facts(run_id) if fact.kind == "terminated")
    assert over["charged_price"] == "maximum"
    seconds = sum((life.ended_at - life.began_at).total_seconds() for life in runs.lives(run_id))
    assert seconds * float(PRICE) / 3600 < runs.billed_usd(run_id) <= float(run.spent_usd)


def test_places_are_zones_where_there_are_some(world: StrictAzure, cloud: AzureCloud) -> None:
    assert cloud.zones_for("eastus", SIZE, None) == ("eastus-1", "eastus-2", "eastus-3")
    assert cloud.zones_for("eastus", SIZE, "eastus-2") == ("eastus-2",)
    assert cloud.zones_for("westeurope", SIZE, None) == ("westeurope",)
    assert cloud.zones_for("japaneast", SIZE, None) == ()
    assert cloud.zones_for("eastus", "Standard_X99", None) == ()


def test_an_address_is_asked_for_only_without_another_way_out(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    make(cloud, intent(world, run_id + "a"))
    world.arm.networks.has_gateway = True
    make(cloud, intent(world, run_id + "b"))
    kind = "Microsoft.Network/networkInterfaces/write"
    with_address, without = (json.dumps(body) for body in asked(world, kind))
    assert "publicIPAddress" in with_address
    assert "publicIPAddress" not in without


def test_an_interface_goes_with_its_machine_so_that_no_second_one_comes(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id, market="spot")
    cloud.arm_kill(wanted)
    assert any(wanted.token in path for path in world.arm.machines.links)
    world.faults.lost_after[MAKE] = 1
    with pytest.raises(Unclear):
        cloud.create(wanted, JOB)
    world.clock.advance(30)
    world.arm.take_away(world.vms(wanted.token)[0])
    world.clock.advance(90)
    # Its group still stands, but the machine that was there cannot come again.
    assert world.arm.machines.group(wanted.token) is not None
    with pytest.raises(Denied, match="InvalidResourceReference"):
        cloud.create(wanted, JOB)
    assert world.arm.made[wanted.token] == 1
    assert not any(wanted.token in path for path in world.arm.machines.links)


def test_an_open_network_is_refused(world: StrictAzure, cloud: AzureCloud, run_id: str) -> None:
    world.arm.networks.open_to_all()
    with pytest.raises(Denied, match="lets others in"):
        make(cloud, intent(world, run_id))


def test_no_secret_is_in_any_request_but_the_one_to_the_vault(
    world: StrictAzure, cloud: AzureCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    make(cloud, wanted, Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"}))
    holding = [r.action for r in world.requests if b"geheim-4711" in r.body]
    assert holding == ["Microsoft.KeyVault/vaults/secrets/setSecret/action"]
    assert "geheim" not in world.vms(wanted.token)[0].user_data
    seat = cloud.seat(wanted)
    assert seat is not None
    assert seat.name in world.vault.names()
    cloud.discard(wanted)
    assert seat.name not in world.vault.names()
    cloud.discard(wanted)


def test_credentials_that_are_refused_say_to_sign_in(
    world: StrictAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.faults.errors["sign-in"] = (400, "invalid_request", "Identity not found")
    with pytest.raises(Denied, match="az login"):
        AzureCloud().zones_for("eastus", SIZE, None)


@pytest.mark.parametrize("given", ["", "not-a-subscription"])
def test_without_a_subscription_nothing_is_tried(
    world: StrictAzure, run_id: str, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", given)
    with pytest.raises(Denied, match="subscription"):
        AzureCloud().create(intent(world, run_id), JOB)
    assert world.calls == []


# What is read once it is made, where Azure takes its time to make it.
AFTER_A_WHILE = {
    f"Microsoft.Network/{kind}/read" for kind in ("networkInterfaces", "publicIPAddresses")
}


def test_all_commands_use_every_right_of_the_launcher_and_miss_none(
    runs: AzureRuns, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, cloud = runs.world, runs.cloud
    # `run` to its end, `reconcile`, and a size of which there are none after all.
    runs.launch(run_id)
    runs.reconcile()
    world.arm.limits.capacity[T4, "*", "*"] = 0
    none_left = intent(world, f"{run_id}none", instance_type=T4, disk_gb=128)
    with pytest.raises(NoCapacity):
        make(cloud, none_left)
    cloud.disarm_kill(none_left)
    world.control.terms_accepted.add(MARKETPLACE)
    for number, named in enumerate((*ALMAS.values(), f"{IMAGES}/images/snapshot")):
        with suppress(Denied):
            make(cloud, intent(world, f"{run_id}image{number}", image_id=named))
    # `logs --console`, and what `doctor` and `doctor --prove` look at.
    wanted = intent(world, f"{run_id}looked-at")
    machine = make(cloud, wanted, Payload({"command": "true"}, secrets={"A": "12345678"}))
    cloud.console_log(machine.id)
    list(checks(("eastus",), world.clock.now()))
    for look in remains(wanted, machine.id, cloud.hand_over(wanted, {})).values():
        look()
    cloud.terminate(machine.id)
    world.clock.advance(600)
    assert ended_by(wanted, machine.id) is not None
    cloud.disarm_kill(wanted)
    # `ledger reconcile-bill` and `prices quotas`; prices themselves are public.
    world.bill[run_id] = "0.5"
    assert billed(date(2026, 11, 1)) == {run_id: Decimal("0.5")}
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "launcher-token")
    # The loopback cloud's time is its own.
    monkeypatch.setattr("mlbroker.broker.http.CLOCK_SKEW_S", float("inf"))
    world.arm.limits.quotas["cores", "eastus"] = 7
    assert {quota.limit for quota in AzureFeed().quotas(["eastus"], Http())} >= {7.0}
    assert world.denied == []
    used = {right for asked in world.requests if asked.who == LAUNCHER for right in needs(asked)}
    assert used | AFTER_A_WHILE == set(azure_roles.LAUNCHER + azure_roles.LAUNCHER_DATA)
    assert GUEST not in {who for who, _ in world.calls}
