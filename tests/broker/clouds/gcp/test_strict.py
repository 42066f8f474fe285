"""The loopback Google Cloud refuses what the real one refuses, in its words."""

import json
from typing import Any

import pytest
import requests
from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.server import StrictGcp
from tests.support.mlbroker import PATIENCE_S

SUBNET = f"projects/{PROJECT}/regions/us-central1/subnetworks/mlbroker-us-central1"
BASE = f"/compute/v1/projects/{PROJECT}/zones/us-central1-a/instances"


def good() -> dict[str, Any]:
    return {
        "name": "mlb-x-1",
        "machineType": "zones/us-central1-a/machineTypes/e2-standard-2",
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": "projects/rocky-linux-cloud/global/images/"
                    "rocky-linux-9-optimized-gcp-v20261101",
                    "diskSizeGb": "20",
                    "diskType": "zones/us-central1-a/diskTypes/pd-balanced",
                },
            }
        ],
        "networkInterfaces": [{"subnetwork": SUBNET}],
    }


def post(world: StrictGcp, body: Any, path: str = BASE, token: str = "launcher-token") -> Any:
    answer = requests.post(
        world.url + path,
        data=body if isinstance(body, str) else json.dumps(body),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=PATIENCE_S,
    )
    return answer.status_code, answer.json()


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"naem": "x"}, 400, 'Unknown name "naem"'),
    ({"scheduling": {"autoRestart": True}}, 400, 'Unknown name "autoRestart" at \'resource.sch'),
    ({"disks": "one"}, 400, "Invalid value at 'resource.disks' (TYPE_ARRAY)"),
    ({"canIpForward": "yes"}, 400, "TYPE_BOOLEAN"),
    ({"scheduling": {"onHostMaintenance": "PAUSE"}}, 400, "Acceptable values"),
    ({"labels": {"a": 1}}, 400, "TYPE_STRING"),
    ({"labels": {"A": "x"}}, 400, "resource.labels"),
    ({"name": "Upper"}, 400, "resource.name"),
    ({"machineType": "e2-standard-2"}, 400, "malformed"),
    ({"machineType": "zones/us-central1-a/machineTypes/e9-huge"}, 400, "does not exist"),
    ({"disks": []}, 400, "exactly one boot disk"),
    ({"networkInterfaces": []}, 400, "network interface"),
    ({"networkInterfaces": [{"subnetwork": "projects/p/other"}]}, 404, "was not found"),
    ({"serviceAccounts": [{"email": "a@b.c"}]}, 400, "serviceAccount"),
    ({"scheduling": {"provisioningModel": "SPOT"}}, 400, "do not restart"),
    ({"scheduling": {"instanceTerminationAction": "DELETE"}}, 400, "needs a limit"),
    ({"scheduling": {"terminationTime": "2027-01-01T00:00:00Z"}}, 400, "needs an action"),
    (
        {"scheduling": {"terminationTime": "soon", "instanceTerminationAction": "DELETE"}},
        400,
        "RFC 3339",
    ),
    (
        {
            "scheduling": {
                "terminationTime": "2026-01-01T00:00:00Z",
                "instanceTerminationAction": "DELETE",
            }
        },
        400,
        "30 seconds",
    ),
    (
        {
            "scheduling": {
                "terminationTime": "2099-01-01T00:00:00Z",
                "instanceTerminationAction": "DELETE",
            }
        },
        400,
        "120 days",
    ),
]


@pytest.mark.parametrize(("change", "code", "says"), WRONG)
def test_wrong_bodies_are_refused(
    world: StrictGcp, change: dict[str, Any], code: int, says: str
) -> None:
    before = len(world.vms())
    status, answer = post(world, {**good(), **change})
    assert status == code
    assert says in answer["error"]["message"]
    assert answer["error"]["code"] == code
    assert answer["error"]["errors"][0]["domain"] == "global"
    assert len(world.vms()) == before


def test_missing_and_malformed_bodies_are_refused(world: StrictGcp) -> None:
    nameless = {key: value for key, value in good().items() if key != "name"}
    assert post(world, nameless)[1]["error"]["message"] == (
        "Required field 'resource.name' not specified"
    )
    assert post(world, "{")[0] == 400
    assert post(world, "[]")[0] == 400


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?dryRun=true", 'Unknown name "dryRun"'),
        ("?requestId=1", "requestId"),
        ("?requestId=00000000-0000-0000-0000-000000000000", "requestId"),
    ],
)
def test_wrong_parameters_are_refused(world: StrictGcp, query: str, says: str) -> None:
    status, answer = post(world, good(), BASE + query)
    assert status == 400
    assert says in answer["error"]["message"]


def test_strangers_and_those_without_the_right_are_refused(world: StrictGcp) -> None:
    assert post(world, good(), token="nobody")[0] == 401
    status, answer = post(world, good(), token="guest-1")
    assert status == 403
    assert "compute.instances.create" in answer["error"]["message"]


def test_another_project_and_another_zone_are_refused(world: StrictGcp) -> None:
    assert post(world, good(), BASE.replace(PROJECT, "other"))[0] == 403
    assert post(world, good(), BASE.replace("us-central1-a", "us-central1-z"))[0] == 400


def test_disks_that_a_family_does_not_take_are_refused(world: StrictGcp) -> None:
    body = {**good(), "machineType": "zones/us-central1-a/machineTypes/n4-standard-2"}
    status, answer = post(world, body)
    assert status == 400
    assert "not compatible" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "scheduling", "says"),
    [
        ("e2-standard-2", {"onHostMaintenance": "TERMINATE"}, "e2 instances do not support"),
        ("c3-standard-192-metal", {"onHostMaintenance": "MIGRATE"}, "c3 instances do not support"),
        ("c3-standard-192-metal", {"provisioningModel": "SPOT"}, "not compatible"),
        ("z3-highmem-88-highlssd", {"onHostMaintenance": "MIGRATE"}, "z3-highmem-88-highlssd"),
        ("z3-highmem-8-highlssd", {"provisioningModel": "SPOT"}, "does not support it"),
        ("a3-highgpu-1g", {"onHostMaintenance": "TERMINATE"}, "not compatible"),
    ],
)
def test_what_a_type_does_not_do_is_refused(
    world: StrictGcp, kind: str, scheduling: dict[str, str], says: str
) -> None:
    body: dict[str, Any] = {**good(), "machineType": f"zones/us-central1-a/machineTypes/{kind}"}
    if kind.endswith("-metal"):
        body["networkInterfaces"] = [{"subnetwork": SUBNET, "nicType": "IDPF"}]
        body["disks"][0]["initializeParams"]["diskType"] = (
            "zones/us-central1-a/diskTypes/hyperdisk-balanced"
        )
    status, answer = post(world, {**body, "scheduling": {**scheduling, "automaticRestart": False}})
    assert status == 400
    assert says in answer["error"]["message"]


def test_a_right_body_makes_a_machine_once(world: StrictGcp) -> None:
    number = "?requestId=6f1c2a58-0f1e-4b43-9d3e-0f2f5c1f7a01"
    status, first = post(world, good(), BASE + number)
    assert status == 200
    assert first["kind"] == "compute#operation"
    assert first["status"] == "RUNNING"
    assert post(world, good(), BASE + number)[1]["name"] == first["name"]
    status, again = post(world, good())
    assert status == 409
    assert again["error"]["errors"][0]["reason"] == "alreadyExists"
    assert sum(vm.name == "mlb-x-1" for vm in world.vms()) == 1
