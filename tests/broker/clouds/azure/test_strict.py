"""The loopback Azure refuses what the real one refuses, in its words."""

import copy
import json
from typing import Any

import pytest
import requests
from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.runs import intent
from tests.support.azure.server import StrictAzure
from tests.support.mlbroker import PATIENCE_S

from mlbroker.broker.clouds.azure.cloud import AzureCloud
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.request import machine_body
from mlbroker.broker.clouds.azure.shape import Shape

NAMES = Names(SUBSCRIPTION, "eastus")
GROUPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
IMAGE = {
    "publisher": "Canonical",
    "offer": "ubuntu-24_04-lts",
    "sku": "server",
    "version": "latest",
}


def good(world: StrictAzure, run_id: str) -> dict[str, Any]:
    shape = Shape("Standard_D2s_v5", IMAGE, "Premium_LRS", True)
    return machine_body(
        intent(world, run_id), NAMES, "00", f"mlb-{run_id}-1", "1", shape, "#!/bin/bash\n"
    )


def put(
    world: StrictAzure,
    path: str,
    body: Any,
    token: str = "launcher-token",
    query: str = "api-version=2024-11-01",
) -> tuple[int, Any]:
    answer = requests.put(
        f"{world.url}{path}?{query}",
        data=body if isinstance(body, str) else json.dumps(body),
        headers={"Authorization": f"Bearer {token}"},
        timeout=PATIENCE_S,
    )
    return answer.status_code, answer.json()["error"]


@pytest.fixture
def machine(world: StrictAzure, cloud: AzureCloud, run_id: str) -> str:
    """The path of a machine that could be made."""
    wanted = intent(world, run_id)
    cloud.arm_kill(wanted)
    return f"{GROUPS}/{wanted.token}/providers/Microsoft.Compute/virtualMachines/{wanted.token}"


ED25519 = [{"path": "/x", "keyData": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA nobody"}]
WRONG: list[tuple[str, Any, int, str]] = [
    ("properties.osProfile.linuxConfiguration.ssh.publicKeys", ED25519, 400, "ssh is invalid"),
    ("properties.evictionPolicy", "Delete", 400, "only on Azure Spot"),
    ("properties.billingProfile", {"maxPrice": 1.0}, 400, "only on Azure Spot"),
    ("properties.hardwareProfile.vmSize", "Standard_X99", 400, "vmSize"),
    ("properties.storageProfile.osDisk.createOption", "Attach", 400, "createOption"),
    ("properties.storageProfile.imageReference.offer", "none", 404, "PlatformImageNotFound"),
    ("properties.osProfile.linuxConfiguration.ssh.publicKeys", [], 400, "SSH"),
    ("properties.osProfile.adminUsername", "admin", 400, "not allowed"),
    ("properties.osProfile.computerName", "x" * 65, 400, "64 characters"),
    ("properties.networkProfile.networkInterfaces", [], 400, "networkInterfaces"),
    (
        "properties.networkProfile.networkInterfaces",
        [{"id": "/none", "properties": {"primary": True}}],
        400,
        "InvalidResourceReference",
    ),
    ("identity.userAssignedIdentities", {"/x": {}}, 400, "FailedIdentityOperation"),
    ("location", "atlantis", 400, "atlantis"),
    ("zones", ["7"], 400, "InvalidAvailabilityZone"),
    ("properties.colour", "red", 400, "Could not find member 'colour'"),
]


@pytest.mark.parametrize(("path", "value", "code", "says"), WRONG)
def test_wrong_machines_are_refused(
    world: StrictAzure, machine: str, run_id: str, path: str, value: Any, code: int, says: str
) -> None:
    body = copy.deepcopy(good(world, run_id))
    *way, last = path.split(".")
    at = body
    for step in way:
        at = at[step]
    at[last] = value
    status, error = put(world, machine, body)
    assert status == code
    assert says in f"{error['code']}: {error['message']}"
    assert world.vms(f"mlb-{run_id}-1") == []


def test_malformed_and_unversioned_requests_are_refused(world: StrictAzure, machine: str) -> None:
    assert put(world, machine, "{")[0] == 400
    assert put(world, machine, "[]")[0] == 400
    assert put(world, machine, {}, query="")[1]["code"] == "MissingApiVersionParameter"


def test_strangers_and_those_without_the_right_are_refused(
    world: StrictAzure, machine: str, run_id: str
) -> None:
    assert put(world, machine, good(world, run_id), "nobody")[0] == 401
    status, error = put(world, machine, good(world, run_id), "guest-1")
    assert (status, error["code"]) == (403, "AuthorizationFailed")


@pytest.mark.parametrize("change", [{"timeZone": "UTC"}, {"startTime": "2026-11-24T10:30:15"},
                                    {"startTime": "2026-11-24T10:30:15+01:00"}])  # fmt: skip
def test_a_kill_time_is_in_utc_or_in_a_zone_that_is_named(
    world: StrictAzure, machine: str, change: dict[str, str]
) -> None:
    token = machine.split("/")[4]
    body = copy.deepcopy(world.arm.workflows.all[token])
    (trigger,) = body["properties"]["definition"]["triggers"].values()
    trigger["recurrence"] |= change
    status, error = put(world, NAMES.workflow(token), body)
    assert (status, "start time" in error["message"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"state": "Disabled"}, "on"),
        ({"definition": {}}, "other members"),
    ],
)
def test_wrong_workflows_are_refused(
    world: StrictAzure, machine: str, change: dict[str, Any], says: str
) -> None:
    token = machine.split("/")[4]
    body = copy.deepcopy(world.arm.workflows.all[token])
    body["properties"] |= change
    status, error = put(world, NAMES.workflow(token), body)
    assert (status, error["code"]) == (400, "InvalidTemplate")
    assert says in error["message"]
