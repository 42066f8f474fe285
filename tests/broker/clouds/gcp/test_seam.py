"""What the launcher does with each answer of Compute Engine, on the strict server."""

import base64
import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.gcp import documents
from tests.support.gcp.gce import PREEMPTED
from tests.support.gcp.machines import Vm
from tests.support.gcp.rights import needs
from tests.support.gcp.runs import GcpRuns, intent
from tests.support.gcp.server import StrictGcp
from tests.support.loopback_http import LAUNCHER

from mlbroker.broker.clouds.gcp import roles as gcp_roles
from mlbroker.broker.clouds.gcp.bill import billed
from mlbroker.broker.clouds.gcp.cloud import GcpCloud
from mlbroker.broker.clouds.gcp.doctor import checks
from mlbroker.broker.clouds.gcp.proof import remains
from mlbroker.broker.clouds.interface import (
    Denied,
    MachineState,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
    Unfit,
)
from mlbroker.broker.errors import CloudError
from mlbroker.broker.http import Http
from mlbroker.broker.prices.feeds.gcp.feed import GcpFeed
from mlbroker.broker.prices.feeds.gcp.rest import Google

JOB = Payload({"command": "true"})
INSERT = "compute.instances.insert"
T4 = "n1-standard-4+nvidia-tesla-t4:1"


def asked(world: StrictGcp, action: str) -> list[dict[str, Any]]:
    """The bodies of all requests of this kind."""
    return [json.loads(r.body or b"null") for r in world.requests if r.action == action]


def test_a_number_that_google_forgot_still_makes_no_second_machine(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    machine = cloud.create(wanted, JOB)
    world.gce._by_request.clear()
    assert cloud.create(wanted, JOB).id == machine.id
    assert world.gce.made[wanted.token] == 1


def test_an_operation_that_does_not_end_is_unclear(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.faults.stuck = 1
    wanted = intent(world, run_id)
    world.guest.job_s = None  # type: ignore[attr-defined]
    world.gce.machines.hidden_s = 1000
    with pytest.raises(Unclear, match="does not come to an end"):
        cloud.create(wanted, JOB)
    world.gce.machines.hidden_s = 0
    # The machine is there all the same.
    assert cloud.create(wanted, JOB).state is MachineState.RUNNING
    assert world.gce.made[wanted.token] == 1


def test_an_operation_that_fails_late_made_nothing(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.faults.late_inserts = 1
    wanted = intent(world, run_id)
    with pytest.raises(NoCapacity, match="INTERNAL_ERROR") as refused:
        cloud.create(wanted, JOB)
    assert refused.value.made_nothing
    assert world.vms(wanted.token) == []


def test_what_a_failed_operation_left_for_a_moment_is_no_proof_of_absence(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.faults.late_inserts = 1
    wanted = intent(world, run_id)
    body = {"labels": dict(wanted.tags), "machineType": "e2-standard-2", "scheduling": {}}
    left = Vm("8", wanted.token, "us-central1-a", body, world.clock.now(), 2)
    world.clock.after(1, lambda: world.gce.machines.all.append(left))
    with pytest.raises(NoCapacity) as refused:
        cloud.create(wanted, JOB)
    world.gce.machines.all.remove(left)
    assert not refused.value.made_nothing


def test_whoever_may_not_ask_how_it_went_knows_nothing_for_certain(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.missing.add("compute.zoneOperations.get")
    wanted = intent(world, run_id)
    with pytest.raises(Denied) as refused:
        cloud.create(wanted, JOB)
    assert not refused.value.made_nothing
    assert len(world.vms(wanted.token)) == 1


def test_a_zone_that_does_not_answer_proves_no_absence(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.faults.unreachable_zones.add("europe-west4-b")
    with pytest.raises(Unclear, match="europe-west4-b"):
        cloud.find(intent(world, run_id).tags)


@pytest.mark.parametrize(
    ("prepare", "changes", "kind", "says"),
    [
        ({"capacity": {("e2-standard-2", "*", "*"): 0}}, {}, NoCapacity, "different zone"),
        ({"quotas": {("CPUS", "us-central1"): 1}}, {}, NoQuota, "'CPUS' exceeded"),
        (
            {"quotas": {("PREEMPTIBLE_CPUS", "*"): 0}},
            {"market": "spot"},
            NoQuota,
            "PREEMPTIBLE_CPUS",
        ),
        (
            {"quotas": {("GPUS_ALL_REGIONS", "*"): 0}},
            {"instance_type": T4},
            NoQuota,
            "GPUS_ALL_REGIONS",
        ),
        (
            {"quotas": {("NVIDIA_T4_GPUS", "*"): 0}},
            {"instance_type": T4},
            NoQuota,
            "NVIDIA_T4_GPUS",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_each_no_is_told_apart(
    world: StrictGcp,
    cloud: GcpCloud,
    run_id: str,
    prepare: dict[str, dict[Any, int]],
    changes: dict[str, object],
    kind: type[CloudError],
    says: str,
    at_once: bool,
) -> None:
    limits = world.gce.limits
    limits.at_once = at_once
    limits.capacity.update(prepare.get("capacity", {}))
    limits.quotas.update(prepare.get("quotas", {}))
    wanted = intent(world, run_id, **changes)
    with pytest.raises(kind) as refused:
        cloud.create(wanted, JOB)
    assert type(refused.value) is kind
    assert refused.value.made_nothing
    assert says in str(refused.value)
    assert world.vms(wanted.token) == []


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


def test_too_many_requests_are_no_lack_of_quota(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.faults.throttled[INSERT] = 1
    with pytest.raises(Unclear, match="rateLimitExceeded"):
        cloud.create(intent(world, run_id), JOB)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"instance_type": "e9-huge-2"}, "not offered in us-central1-a"),
        ({"instance_type": "e9-huge-2", "zone": None}, "not offered in us-central1"),
        ({"region": "asia-east1", "zone": None}, "init --cloud gcp --region asia-east1"),
        ({"instance_type": "n1-standard-4+t4"}, "not a machine type"),
        ({"instance_type": "e2-standard-2+nvidia-tesla-t4:1"}, "not compatible"),
        ({"image_id": "docker:python"}, "not an image of Google Cloud"),
        ({"image_id": "projects/p/global/images/none"}, "resources.image_id"),
        (
            {
                "instance_type": "c4a-standard-4",
                "image_id": "projects/rocky-linux-cloud/global/images/family/"
                "rocky-linux-9-optimized-gcp",
            },
            "c4a-standard-4 is ARM64",
        ),
        ({"instance_type": "a4x-highgpu-4g", "zone": None}, "knows no image with NVIDIA"),
        ({"disk_gb": 10}, "disk_size"),
        ({"instance_type": T4, "disk_gb": 30}, "disk_size: 50"),
    ],
)
def test_wrong_wishes_are_refused_with_the_field_to_change(
    world: StrictGcp, cloud: GcpCloud, run_id: str, changes: dict[str, object], says: str
) -> None:
    wanted = intent(world, run_id, **changes)
    with pytest.raises(CloudError) as refused:
        cloud.create(wanted, JOB)
    assert says in str(refused.value)
    assert not isinstance(refused.value, Unclear)
    assert world.vms(wanted.token) == []


def test_a_life_shorter_than_google_can_end_is_refused(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    soon = world.clock.now() + timedelta(seconds=20)
    with pytest.raises(Denied, match="30 seconds"):
        cloud.create(intent(world, run_id, kill_at=soon), JOB)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ((401, "authError", "Invalid Credentials"), "gcloud auth application-default login"),
        ((403, "forbidden", "Required 'compute.instances.create'"), "doctor --cloud gcp"),
        (
            (403, "accessNotConfigured", "Compute Engine API has not been used in project 1"),
            "init --cloud gcp",
        ),
    ],
)
def test_refused_credentials_say_what_to_do(
    world: StrictGcp, cloud: GcpCloud, run_id: str, error: tuple[int, str, str], says: str
) -> None:
    world.faults.errors[INSERT] = error
    with pytest.raises(Denied) as refused:
        cloud.create(intent(world, run_id), JOB)
    assert says in str(refused.value)


def test_credentials_that_expired_say_to_sign_in_again(world: StrictGcp, run_id: str) -> None:
    world.faults.errors["oauth2.token"] = (400, "invalid_grant", "Token has been revoked.")
    with pytest.raises(Denied, match="application-default login"):
        GcpCloud().zones_for("us-central1", "e2-standard-2", None)


def test_without_credentials_nothing_is_tried(
    world: StrictGcp, run_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(Denied, match="no credentials"):
        GcpCloud().create(intent(world, run_id), JOB)
    assert world.calls == []


@pytest.mark.parametrize(
    ("kind", "image", "disk"),
    [
        ("e2-standard-2", "rocky-linux-9-optimized-gcp-v", "pd-balanced"),
        ("n4-standard-2", "rocky-linux-9-optimized-gcp-v", "hyperdisk-balanced"),
        ("c3-standard-192-metal", "rocky-linux-9-optimized-gcp-v", "hyperdisk-balanced"),
        ("z3-highmem-8-highlssd", "rocky-linux-9-optimized-gcp-v", "pd-balanced"),
        ("z3-highmem-88-highlssd", "rocky-linux-9-optimized-gcp-v", "pd-balanced"),
        ("c4a-standard-4", "rocky-linux-9-optimized-gcp-arm64-v", "hyperdisk-balanced"),
        ("g2-standard-4", "common-cu129-ubuntu-2204-nvidia-580-v", "pd-balanced"),
        ("a3-highgpu-8g", "common-cu129-ubuntu-2204-nvidia-580-v", "pd-balanced"),
        (T4, "common-cu129-ubuntu-2204-nvidia-580-v", "pd-balanced"),
    ],
)
def test_image_and_disk_are_told_by_the_hardware(
    world: StrictGcp, cloud: GcpCloud, run_id: str, kind: str, image: str, disk: str
) -> None:
    cloud.create(intent(world, run_id, instance_type=kind), JOB)
    (body,) = asked(world, INSERT)
    parameters = body["disks"][0]["initializeParams"]
    assert image in parameters["sourceImage"]
    assert parameters["diskType"].endswith(f"/{disk}")


@pytest.mark.parametrize("kind", ["e2-standard-2", "a3-highgpu-1g", "a3-ultragpu-8g", T4])
def test_spot_machines_are_taken_as_google_sells_them(
    world: StrictGcp, cloud: GcpCloud, run_id: str, kind: str
) -> None:
    wanted = intent(world, run_id, instance_type=kind, market="spot")
    assert cloud.create(wanted, JOB).tags == wanted.tags


def test_no_performance_of_a_disk_is_bought(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    wanted = intent(world, run_id, instance_type="n4-standard-2", disk_gb=500)
    cloud.create(wanted, JOB)
    (vm,) = world.vms(wanted.token)
    made = documents.disk(vm)
    assert (made["provisionedIops"], made["provisionedThroughput"]) == ("3000", "140")


@pytest.mark.parametrize("kind", ["a3-highgpu-1g", "a4x-highgpu-4g"])
def test_a_type_that_is_not_sold_so_is_left_for_another(
    world: StrictGcp, cloud: GcpCloud, run_id: str, kind: str
) -> None:
    wanted = intent(world, run_id, instance_type=kind, zone="us-central1-c")
    with pytest.raises(Unfit) as refused:
        cloud.create(wanted, JOB)
    assert refused.value.made_nothing


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (
            400,
            "badRequest",
            "[pd-balanced, n9-standard-2] features are not compatible for creating instance.",
            Unfit,
        ),
        (
            400,
            "invalid",
            "Invalid value for field 'resource.scheduling.onHostMaintenance': 'TERMINATE'. e2 "
            "instances do not support onHostMaintenance=TERMINATE unless they are preemptible.",
            Unfit,
        ),
        (
            400,
            "badRequest",
            "Instances with guest accelerators do not support live migration.",
            Unfit,
        ),
        (
            400,
            "invalid",
            "Invalid value for field 'resource.disks[0].initializeParams.diskType': "
            "'zones/us-central1-a/diskTypes/pd-balanced'.",
            Unfit,
        ),
        (400, "UNSUPPORTED_OPERATION", "It is not supported here.", Unfit),
        (
            404,
            "notFound",
            "The resource 'projects/p/zones/us-central1-a/acceleratorTypes/nvidia-l4' "
            "was not found",
            NoCapacity,
        ),
        (404, "notFound", "The resource 'projects/p/global/images/mine' was not found", Denied),
        (
            400,
            "invalid",
            "Invalid value for field 'resource.labels': ''. Label value is invalid.",
            Denied,
        ),
    ],
)
def test_a_no_to_a_type_is_told_from_a_no_to_the_request(
    world: StrictGcp,
    cloud: GcpCloud,
    run_id: str,
    status: int,
    reason: str,
    message: str,
    kind: type[CloudError],
) -> None:
    world.faults.errors[INSERT] = (status, reason, message)
    with pytest.raises(CloudError) as refused:
        cloud.create(intent(world, run_id), JOB)
    assert type(refused.value) is kind
    assert refused.value.made_nothing


def test_an_own_image_without_uefi_is_started_without_shield(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    own = "projects/loopback-project/global/images/family/own-image"
    cloud.create(intent(world, run_id, image_id=own), JOB)
    (body,) = asked(world, INSERT)
    assert "shieldedInstanceConfig" not in body


def test_an_address_is_asked_for_only_without_another_way_out(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    cloud.create(intent(world, run_id + "a"), JOB)
    world.gce.networks.add_nat("us-central1")
    cloud.create(intent(world, run_id + "b"), JOB)
    with_address, without = asked(world, INSERT)
    assert "accessConfigs" in with_address["networkInterfaces"][0]
    assert "accessConfigs" not in without["networkInterfaces"][0]


def test_an_open_network_is_refused(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    world.gce.networks.open_to_all("us-central1")
    with pytest.raises(Denied, match="lets others into network"):
        cloud.create(intent(world, run_id), JOB)


def test_a_region_without_subnet_says_how_to_set_it_up(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    del world.gce.networks.subnets["us-central1", "mlbroker-us-central1"]
    with pytest.raises(Denied, match="init --cloud gcp --region us-central1"):
        cloud.create(intent(world, run_id), JOB)


def test_no_secret_is_in_any_request_but_the_one_to_the_vault(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    wanted = intent(world, run_id)
    cloud.create(wanted, Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"}))
    holding = [r for r in world.requests if b"geheim-4711" in _unpacked(r.body)]
    assert [r.action for r in holding] == ["secretmanager.projects.secrets.addVersion"]
    seat = cloud.seat(wanted)
    assert seat is not None
    assert world.vault.names() == [f"mlb-us-central1-{seat.number}-{seat.name}"]
    cloud.discard(wanted)
    assert world.vault.names() == []


def test_secrets_expire_with_the_machine(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    wanted = intent(world, run_id)
    cloud.create(wanted, Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"}))
    world.clock.advance(3600)
    assert [name for name in world.vault.names() if wanted.token in name] == []


def test_secrets_may_be_laid_down_twice(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    wanted = intent(world, run_id)
    world.faults.lost_before[INSERT] = 1
    payload = Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"})
    with pytest.raises(Unclear):
        cloud.create(wanted, payload)
    cloud.create(wanted, payload)
    cloud.discard(wanted)
    cloud.discard(wanted)


def test_a_missing_bucket_is_said(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    kept = world.storage.buckets.pop("mlbroker-loopback-project-us-central1")
    try:
        with pytest.raises(Denied, match="bucket"):
            cloud.create(intent(world, run_id), JOB)
    finally:
        world.storage.buckets["mlbroker-loopback-project-us-central1"] = kept


def test_places_are_the_zones_with_both_machine_and_accelerator(runs: GcpRuns) -> None:
    cloud = runs.cloud
    assert cloud.zones_for("asia-east1", "e2-standard-2", None) == ()
    assert cloud.zones_for("us-central1", "a4x-highgpu-4g", None) == ("us-central1-c",)
    assert len(cloud.zones_for("us-central1", T4, None)) == 3
    assert cloud.zones_for("us-central1", T4, "us-central1-b") == ("us-central1-b",)
    assert cloud.zones_for("us-central1", "e2-standard-2+nvidia-h900:1", None) == ()


def test_several_machines_are_one_and_end_together(
    world: StrictGcp, cloud: GcpCloud, run_id: str
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    wanted = intent(world, run_id, nodes=3)
    machine = cloud.create(wanted, JOB)
    names = [f"{wanted.token}-n{rank}" for rank in range(3)]
    assert machine.id == "us-central1-a/" + "+".join(names)
    assert cloud.create(wanted, JOB).id == machine.id
    (found,) = cloud.find(wanted.tags)
    assert (found.id, found.state) == (machine.id, MachineState.RUNNING)
    assert sorted(vm.name for vm in world.vms(wanted.token)) == names
    world.gce.delete(world.vms(wanted.token)[1], PREEMPTED)
    world.clock.advance(60)
    partly = cloud.status(machine.id)
    assert partly is not None
    assert partly.state is MachineState.TERMINATING
    end = cloud.report(wanted).end
    assert end is not None
    assert end.why == "preempted"
    cloud.terminate(machine.id)
    world.clock.advance(60)
    gone = cloud.status(machine.id)
    assert gone is not None
    assert gone.state is MachineState.TERMINATED


def test_too_little_room_for_all_makes_none(world: StrictGcp, cloud: GcpCloud, run_id: str) -> None:
    world.gce.limits.capacity["*", "*", "*"] = 2
    wanted = intent(world, run_id, nodes=3)
    with pytest.raises(NoCapacity):
        cloud.create(wanted, JOB)
    assert world.vms(wanted.token) == []


def test_the_roles_suffice_and_hold_nothing_idle(
    runs: GcpRuns, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = intent(runs.world, run_id, zone=None, nodes=1)
    runs.cloud.create(wanted, Payload({"command": "true"}, secrets={"A": "12345678"}))
    own = "projects/loopback-project/global/images/rocky"
    with pytest.raises(Denied):
        runs.cloud.create(intent(runs.world, run_id, image_id=own), JOB)
    runs.cloud.zones_for("us-central1", T4, None)
    (machine,) = runs.cloud.find(wanted.tags)
    runs.cloud.console_log(machine.id)
    runs.cloud.terminate(machine.id)
    runs.world.clock.advance(60)
    (gone,) = runs.cloud.find(wanted.tags)
    assert gone == runs.cloud.status(machine.id)
    runs.cloud.report(wanted)
    list(checks(("us-central1",), runs.world.clock.now()))
    for look in remains(wanted, machine.id, runs.cloud.hand_over(wanted, {})).values():
        look()
    runs.cloud.discard(wanted)
    runs.world.bill[run_id] = "0.5"
    assert billed(date(2026, 11, 1)) == {run_id: Decimal("0.5")}
    # `prices quotas` and `prices refresh`, whose catalogue takes no permission.
    monkeypatch.setenv("MLBROKER_GCP_COMPUTE_URL", runs.world.url)
    # The loopback cloud's time is its own.
    monkeypatch.setattr("mlbroker.broker.http.CLOCK_SKEW_S", float("inf"))
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "launcher-token")
    assert GcpFeed().quotas(["us-central1"], Http())
    for kind in ("machineTypes", "acceleratorTypes"):
        assert list(Google(Http()).zonal(kind))
    assert [what for who, what in runs.world.denied if who == LAUNCHER] == []
    used = {p for who, action in runs.world.calls if who == LAUNCHER for p in needs(action)}
    assert set(gcp_roles.LAUNCHER) == used


def _unpacked(body: bytes) -> bytes:
    """The body, with what may be wrapped in it."""
    text = body.decode("latin-1")
    found = body
    try:
        data = json.loads(text)["payload"]["data"]
        found += base64.b64decode(data)
    except (ValueError, KeyError, TypeError):
        pass
    return found
