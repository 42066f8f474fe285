"""The request that makes a machine, as a value: closed, capped by Google itself, then gone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlbroker.broker.clouds.gcp.names import NODES_TAG, Names, instance_names
from mlbroker.broker.clouds.gcp.network import Spot
from mlbroker.broker.clouds.gcp.shape import METAL_CARD, Shape
from mlbroker.broker.clouds.interface import Intent

# What a Hyperdisk has at no extra charge; left unsaid, it gets more with its size, at a price
# (cloud.google.com/compute/docs/disks/hd-types/hyperdisk-balanced, 2026-11).
FREE_IOPS = "3000"
FREE_MIB_PER_S = "140"
# What a machine may ask for at all; what it is allowed is said by its service account's role.
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def insert_body(
    intent: Intent, names: Names, seat: str, zone: str, shape: Shape, spot: Spot, script: str
) -> dict[str, Any]:
    """`instances.insert` for one machine."""
    (name,) = instance_names(intent)
    body = _properties(intent, names, seat, shape, spot, script)
    # In a single request they stand beside what describes the machine.
    body["params"] = {"resourceManagerTags": body.pop("resourceManagerTags")}
    disk = body["disks"][0]["initializeParams"]
    disk["diskType"] = f"zones/{zone}/diskTypes/{disk['diskType']}"
    for accelerator in body.get("guestAccelerators", []):
        kind = accelerator["acceleratorType"]
        accelerator["acceleratorType"] = (
            f"projects/{names.project}/zones/{zone}/acceleratorTypes/{kind}"
        )
    machine_type = f"zones/{zone}/machineTypes/{shape.machine_type}"
    return {"name": name, **body, "machineType": machine_type}


def bulk_body(
    intent: Intent, names: Names, seat: str, shape: Shape, spot: Spot, script: str
) -> dict[str, Any]:
    """`instances.bulkInsert` for a run of several machines: all of them, or none."""
    machines = instance_names(intent)
    properties = _properties(intent, names, seat, shape, spot, script)
    # Only each other: the network's one rule is for machines with this tag.
    properties["tags"] = {"items": [NODES_TAG]}
    return {
        "count": str(len(machines)),
        "minCount": str(len(machines)),
        "perInstanceProperties": {name: {"name": name} for name in machines},
        "instanceProperties": properties,
    }


def termination_time(kill_at: datetime) -> str:
    """As Google writes times; whole seconds, never later than asked."""
    return kill_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _properties(
    intent: Intent, names: Names, seat: str, shape: Shape, spot: Spot, script: str
) -> dict[str, Any]:
    interface: dict[str, Any] = {"subnetwork": spot.subnet}
    if spot.needs_address:
        interface["accessConfigs"] = [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    if shape.is_bare_metal:
        interface["nicType"] = METAL_CARD
    body: dict[str, Any] = {
        "machineType": shape.machine_type,
        "labels": dict(intent.tags),
        "resourceManagerTags": {f"{names.project}/{names.seat_tag}": seat},
        "description": f"mlbroker {intent.job}"[:255],
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": shape.image,
                    "diskSizeGb": str(intent.disk_gb),
                    "labels": dict(intent.tags),
                    **_disk_kind(shape),
                },
            }
        ],
        "networkInterfaces": [interface],
        "serviceAccounts": [{"email": names.guest(seat), "scopes": [SCOPE]}],
        "metadata": {
            "items": [
                {"key": "startup-script", "value": script},
                {"key": "block-project-ssh-keys", "value": "TRUE"},
                {"key": "enable-oslogin", "value": "TRUE"},
            ]
        },
        "scheduling": _scheduling(intent, shape),
    }
    if shape.attached is not None:
        body["guestAccelerators"] = [
            {"acceleratorType": shape.attached, "acceleratorCount": shape.attached_count}
        ]
    if shape.shielded:
        body["shieldedInstanceConfig"] = {
            # NVIDIA's driver is built on the image and not signed for Secure Boot.
            "enableSecureBoot": not shape.has_gpu,
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        }
    return body


def _disk_kind(shape: Shape) -> Mapping[str, str]:
    if not shape.hyperdisk:
        return {"diskType": "pd-balanced"}
    return {
        "diskType": "hyperdisk-balanced",
        "provisionedIops": FREE_IOPS,
        "provisionedThroughput": FREE_MIB_PER_S,
    }


def _scheduling(intent: Intent, shape: Shape) -> Mapping[str, Any]:
    """Google itself ends the machine: absolutely, so that no restart moves the time.

    After an error of its host a machine that does not restart stands still, out of reach of that
    time, and its disk bills; one that does has itself deleted, as that is its second boot. Spot
    machines cannot restart (compute/docs/instances/setting-vm-host-options, 2026-11).
    """
    is_spot = intent.market == "spot"
    return {
        "provisioningModel": "SPOT" if is_spot else "STANDARD",
        "automaticRestart": not is_spot,
        "onHostMaintenance": "MIGRATE" if shape.moves and not is_spot else "TERMINATE",
        "instanceTerminationAction": "DELETE",
        "terminationTime": termination_time(intent.kill_at),
    }
