"""The request that spends and that ends spending, in full: closed, capped, gone when done."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.support.gcp.discovery import api

from mlbroker.broker.clouds.gcp.names import Names, instance_names, request_id
from mlbroker.broker.clouds.gcp.network import Spot
from mlbroker.broker.clouds.gcp.request import bulk_body, insert_body
from mlbroker.broker.clouds.gcp.shape import Shape, split_type
from mlbroker.broker.clouds.interface import Denied, Intent

NAMES = Names("acme", "europe-west4")
LABELS = {"mlbroker-run": "r1", "mlbroker-token": "mlb-r1-1"}
IMAGE = "projects/rocky-linux-cloud/global/images/rocky-linux-9-v1"
PLAIN = Shape("e2-standard-4", None, 0, False, IMAGE, True, False, True)
ATTACHED = Shape("n1-standard-4", "nvidia-tesla-t4", 2, True, IMAGE, True, False, False)
METAL = Shape("c3-standard-192-metal", None, 0, False, IMAGE, False, True, False)
CLOSED = Spot(NAMES.subnet, needs_address=False)


def intent(market: str = "on_demand", nodes: int = 1, token: str = "mlb-r1-1") -> Intent:
    return Intent(
        token=token,
        run_id="r1",
        attempt=1,
        job="bert",
        cloud="gcp",
        region="europe-west4",
        zone="europe-west4-b",
        instance_type="e2-standard-4",
        market=market,
        nodes=nodes,
        price_per_hour_usd=Decimal("0.15"),
        intended_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
        kill_at=datetime(2026, 11, 24, 10, 30, 15, 900000, tzinfo=UTC),
        disk_gb=100,
    )


def insert(of: Intent, shape: Shape = PLAIN, spot: Spot = CLOSED) -> dict[str, Any]:
    return insert_body(of, NAMES, "07", "europe-west4-b", shape, spot, "#!/bin/bash\n")


def test_insert_is_exactly_this() -> None:
    assert insert(intent()) == {
        "name": "mlb-r1-1",
        "machineType": "zones/europe-west4-b/machineTypes/e2-standard-4",
        "labels": LABELS,
        "params": {"resourceManagerTags": {"acme/mlbroker-europe-west4": "07"}},
        "description": "mlbroker bert",
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": IMAGE,
                    "diskSizeGb": "100",
                    "diskType": "zones/europe-west4-b/diskTypes/pd-balanced",
                    "labels": LABELS,
                },
            }
        ],
        "networkInterfaces": [
            {"subnetwork": "projects/acme/regions/europe-west4/subnetworks/mlbroker-europe-west4"}
        ],
        "serviceAccounts": [
            {
                "email": "mlb-europe-west4-07@acme.iam.gserviceaccount.com",
                "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            }
        ],
        "metadata": {
            "items": [
                {"key": "startup-script", "value": "#!/bin/bash\n"},
                {"key": "block-project-ssh-keys", "value": "TRUE"},
                {"key": "enable-oslogin", "value": "TRUE"},
            ]
        },
        "scheduling": {
            "provisioningModel": "STANDARD",
            "automaticRestart": True,
            "onHostMaintenance": "MIGRATE",
            "instanceTerminationAction": "DELETE",
            "terminationTime": "2026-11-24T10:30:15Z",
        },
        "shieldedInstanceConfig": {
            "enableSecureBoot": True,
            "enableVtpm": True,
            "enableIntegrityMonitoring": True,
        },
    }


def test_spot_machines_are_deleted_when_they_are_taken_away() -> None:
    assert insert(intent("spot"))["scheduling"] == {
        "provisioningModel": "SPOT",
        "automaticRestart": False,
        "onHostMaintenance": "TERMINATE",
        "instanceTerminationAction": "DELETE",
        "terminationTime": "2026-11-24T10:30:15Z",
    }


def test_attached_accelerators_and_a_driver_that_secure_boot_does_not_know() -> None:
    body = insert(intent(), ATTACHED)
    assert body["guestAccelerators"] == [
        {
            "acceleratorType": "projects/acme/zones/europe-west4-b/acceleratorTypes/"
            "nvidia-tesla-t4",
            "acceleratorCount": 2,
        }
    ]
    assert body["scheduling"]["onHostMaintenance"] == "TERMINATE"
    assert body["shieldedInstanceConfig"]["enableSecureBoot"] is False


def test_an_address_only_where_there_is_no_other_way_out() -> None:
    (interface,) = insert(intent(), spot=Spot(NAMES.subnet, needs_address=True))[
        "networkInterfaces"
    ]
    assert interface["accessConfigs"] == [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}]
    assert "accessConfigs" not in insert(intent())["networkInterfaces"][0]


def test_an_image_without_uefi_is_not_shielded() -> None:
    old = replace(PLAIN, shielded=False)
    assert "shieldedInstanceConfig" not in insert(intent(), old)


def test_several_machines_come_together_or_not_at_all() -> None:
    body = bulk_body(intent(nodes=3), NAMES, "07", ATTACHED, CLOSED, "#!/bin/bash\n")
    properties = body.pop("instanceProperties")
    assert body == {
        "count": "3",
        "minCount": "3",
        "perInstanceProperties": {
            name: {"name": name} for name in ("mlb-r1-1-n0", "mlb-r1-1-n1", "mlb-r1-1-n2")
        },
    }
    # Bulk requests name things shortly.
    assert properties["machineType"] == "n1-standard-4"
    assert properties["guestAccelerators"][0]["acceleratorType"] == "nvidia-tesla-t4"
    assert properties["disks"][0]["initializeParams"]["diskType"] == "pd-balanced"
    assert properties["scheduling"]["terminationTime"] == "2026-11-24T10:30:15Z"
    assert properties["tags"] == {"items": ["mlbroker-nodes"]}
    assert properties["resourceManagerTags"] == {"acme/mlbroker-europe-west4": "07"}


def test_a_hyperdisk_has_what_costs_nothing_beside_its_size() -> None:
    parameters = insert(intent(), METAL)["disks"][0]["initializeParams"]
    assert parameters["diskType"] == "zones/europe-west4-b/diskTypes/hyperdisk-balanced"
    assert (parameters["provisionedIops"], parameters["provisionedThroughput"]) == ("3000", "140")


@pytest.mark.parametrize("shape", [PLAIN, ATTACHED, METAL])
def test_both_bodies_are_what_the_discovery_document_says(shape: Shape) -> None:
    where = "/compute/v1/projects/acme/zones/europe-west4-b/instances"
    for path, body in (
        (where, insert(intent("spot"), shape)),
        (where + "/bulkInsert", bulk_body(intent(nodes=2), NAMES, "07", shape, CLOSED, "#!")),
    ):
        method = api("compute.v1").find("POST", path)
        assert method is not None
        assert api("compute.v1").refused(method, {}, json.dumps(body).encode()) is None


def test_one_number_for_one_request() -> None:
    first = request_id(intent(), "europe-west4-b")
    assert first == request_id(intent(), "europe-west4-b")
    others = {
        request_id(intent(), "europe-west4-c"),
        request_id(intent(token="mlb-r1-2"), "europe-west4-b"),
    }
    assert first not in others
    assert len(others) == 2


@pytest.mark.parametrize("token", ["MLB-r1-1", "mlb_r1_1", "1mlb", "mlb-" + "x" * 60, "a/b", ""])
def test_a_token_that_is_no_name_is_refused(token: str) -> None:
    with pytest.raises(Denied, match="not a name"):
        instance_names(intent(token=token))


def test_types_of_the_price_book_are_taken_apart() -> None:
    assert split_type("g2-standard-4") == ("g2-standard-4", None, 0)
    assert split_type("n1-standard-4+nvidia-tesla-t4:2") == ("n1-standard-4", "nvidia-tesla-t4", 2)
    for wrong in ("n1-standard-4+:1", "n1-standard-4+nvidia-tesla-t4", "n1-standard-4+t4:many"):
        with pytest.raises(Denied, match="not a machine type"):
            split_type(wrong)
