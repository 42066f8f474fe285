"""The requests that spend and that end spending, in full: closed, capped, gone when done."""

import base64
import copy
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.support.azure.schema import wrong_machine, wrong_network

from mlbroker.broker.clouds.azure.kill import workflow_body
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.network import Spot
from mlbroker.broker.clouds.azure.request import (
    NOBODY,
    address_body,
    interface_body,
    machine_body,
    max_price,
    nobodys_key,
)
from mlbroker.broker.clouds.azure.shape import Shape
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.clouds.rented import checked_token, machine_names
from mlbroker.broker.clouds.user_data import start_script

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"
NAMES = Names(SUBSCRIPTION, "westeurope")
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/mlbroker-westeurope"
GUEST = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mlbroker-seat-07"
ENDER = GUEST.replace("seat-07", "end")
FIREWALL = f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/mlbroker"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/mlbroker/subnets/mlbroker"
OWN = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/mlb-r1-1/providers/Microsoft.Network"
TAGS = {"mlbroker-run": "r1", "mlbroker-token": "mlb-r1-1"}
IMAGE = {
    "publisher": "Canonical",
    "offer": "ubuntu-24_04-lts",
    "sku": "server",
    "version": "latest",
}
PLAIN = Shape("Standard_D4s_v5", IMAGE, "Premium_LRS", True)


def intent(market: str = "on_demand", token: str = "mlb-r1-1") -> Intent:
    return Intent(
        token=token,
        run_id="r1",
        attempt=1,
        job="bert",
        cloud="azure",
        region="westeurope",
        zone="westeurope-2",
        instance_type="Standard_D4s_v5",
        market=market,
        nodes=1,
        price_per_hour_usd=Decimal("0.0187034"),
        intended_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
        kill_at=datetime(2026, 11, 24, 10, 30, 15, 900000, tzinfo=UTC),
        disk_gb=100,
    )


def body(of: Intent, zone: str | None = "2") -> Any:
    return machine_body(of, NAMES, "07", of.token, zone, PLAIN, "#!/bin/bash\n")


def test_a_machine_is_exactly_this() -> None:
    assert body(intent()) == {
        "location": "westeurope",
        "zones": ["2"],
        "tags": TAGS,
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {GUEST: {}}},
        "properties": {
            "priority": "Regular",
            "hardwareProfile": {"vmSize": "Standard_D4s_v5"},
            "storageProfile": {
                "imageReference": IMAGE,
                "osDisk": {
                    "name": "mlb-r1-1",
                    "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "diskSizeGB": 100,
                    "managedDisk": {"storageAccountType": "Premium_LRS"},
                },
            },
            "osProfile": {
                "computerName": "mlb-r1-1",
                "adminUsername": "azureuser",
                "customData": base64.b64encode(b"#!/bin/bash\n").decode(),
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {
                        "publicKeys": [
                            {
                                "path": "/home/azureuser/.ssh/authorized_keys",
                                "keyData": nobodys_key(),
                            }
                        ]
                    },
                    "provisionVMAgent": True,
                    "patchSettings": {"patchMode": "ImageDefault"},
                },
            },
            "networkProfile": {
                "networkInterfaces": [
                    {
                        "id": f"{OWN}/networkInterfaces/mlb-r1-1",
                        "properties": {"primary": True, "deleteOption": "Delete"},
                    }
                ]
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            "securityProfile": {
                "securityType": "TrustedLaunch",
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            },
        },
    }


@pytest.mark.parametrize("market", ["spot", "on_demand"])
@pytest.mark.parametrize("zone", ["1", None])
def test_every_body_fits_azures_own_library(market: str, zone: str | None) -> None:
    assert wrong_machine(body(intent(market), zone)) is None


def test_an_interface_is_exactly_this() -> None:
    made = interface_body(intent(), NAMES, "mlb-r1-1", Spot(SUBNET, FIREWALL, needs_address=True))
    assert made == {
        "location": "westeurope",
        "tags": TAGS,
        "properties": {
            "networkSecurityGroup": {"id": FIREWALL},
            "ipConfigurations": [
                {
                    "name": "only",
                    "properties": {
                        "primary": True,
                        "subnet": {"id": SUBNET},
                        "publicIPAddress": {
                            "id": f"{OWN}/publicIPAddresses/mlb-r1-1",
                            "properties": {"deleteOption": "Delete"},
                        },
                    },
                }
            ],
        },
    }
    assert wrong_network(made, "NetworkInterface") is None
    assert wrong_network(address_body(intent()), "PublicIPAddress") is None
    closed = interface_body(intent(), NAMES, "mlb-r1-1", Spot(SUBNET, FIREWALL, False))
    assert "publicIPAddress" not in str(closed)


def test_spot_is_deleted_when_taken_away_and_never_dearer_than_reckoned() -> None:
    properties = body(intent("spot"))["properties"]
    assert properties["priority"] == "Spot"
    assert properties["evictionPolicy"] == "Delete"
    assert properties["billingProfile"] == {"maxPrice": 0.01871}
    regular = body(intent())["properties"]
    assert not {"evictionPolicy", "billingProfile"} & set(regular)


@pytest.mark.parametrize(
    ("price", "most", "sent"),
    [
        ("0.0187", None, "0.0187"),
        ("0.0000001", None, "0.00001"),
        ("0.0187034", "0.0187034", "0.01871"),
        ("0.0187034", "0.0233792", "0.02337"),
    ],
)
def test_the_highest_price_has_the_five_decimals_that_azure_takes(
    price: str, most: str | None, sent: str
) -> None:
    wanted = replace(
        intent("spot"),
        price_per_hour_usd=Decimal(price),
        max_price_per_hour_usd=Decimal(most) if most else None,
    )
    assert max_price(wanted) == Decimal(sent)


def test_the_kill_switch_is_exactly_this() -> None:
    assert workflow_body(NAMES, "mlb-r1-1", intent()) == {
        "location": "westeurope",
        "tags": TAGS,
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {ENDER: {}}},
        "properties": {
            "state": "Enabled",
            "definition": {
                "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/"
                "schemas/2016-06-01/workflowdefinition.json#",
                "contentVersion": "1.0.0.0",
                "triggers": {
                    "from_the_kill_time_on": {
                        "type": "Recurrence",
                        "recurrence": {
                            "frequency": "Minute",
                            "interval": 3,
                            "startTime": "2026-11-24T10:30:15Z",
                        },
                    }
                },
                "actions": {
                    "delete_the_group": {
                        "type": "Http",
                        "inputs": {
                            "method": "DELETE",
                            "uri": "https://management.azure.com/subscriptions/"
                            f"{SUBSCRIPTION}/resourceGroups/mlb-r1-1?api-version=2024-07-01"
                            "&forceDeletionTypes=Microsoft.Compute/virtualMachines",
                            "authentication": {
                                "type": "ManagedServiceIdentity",
                                "identity": ENDER,
                                "audience": "https://management.azure.com/",
                            },
                        },
                        "runAfter": {},
                    }
                },
            },
        },
    }


def test_the_script_arms_its_timer_first_and_asks_for_its_groups_end_last() -> None:
    wanted = intent()
    script = start_script(wanted, "acct", 65535, deletes=True, first_boot="every boot\n")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert lines[1].startswith(f"left=$(({int(wanted.kill_at.timestamp())} - ")
    assert "broker.clouds.azure.guest" in lines[3]
    assert lines[-1] == "exec $end"
    assert len(script.encode()) < 65535
    # Azure's own user may become root: nothing here runs as that.
    assert "runuser -u mlbroker" in script
    assert NOBODY not in script


def test_names_are_what_azure_takes() -> None:
    assert NAMES.account.isalnum()
    assert len(NAMES.account) == 24
    assert len(NAMES.vault("07")) == 24
    assert NAMES.account != Names(SUBSCRIPTION, "eastus").account
    assert machine_names("mlb-r1-1", 2) == ("mlb-r1-1-n0", "mlb-r1-1-n1")


@pytest.mark.parametrize("token", ["", "Upper", "a/b", "a b", "-a", "a" * 70])
def test_a_token_that_is_no_name_is_refused(token: str) -> None:
    with pytest.raises(Denied, match="not a name"):
        checked_token(intent(token=token))


def _changed(path: str, value: Any) -> Any:
    made = copy.deepcopy(body(intent("spot")))
    *way, last = path.split(".")
    at = made
    for step in way:
        at = at[step]
    at[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("plann", 1, "Could not find member 'plann' on object of type 'VirtualMachine'"),
        ("properties.evictPolicy", "Delete", "evictPolicy"),
        ("properties.priority", "Cheap", "'Cheap' of parameter 'properties.priority'"),
        ("properties.storageProfile.osDisk.diskSizeGB", "big", "to type 'int'"),
        ("properties.storageProfile.osDisk.deleteOption", "Keep", "not allowed"),
        ("properties.storageProfile.osDisk", {"name": "x"}, "createOption' is missing"),
        ("properties.osProfile.linuxConfiguration.provisionVMAgent", "yes", "to type 'bool'"),
        ("tags", {"a": 1}, "to type 'str'"),
        ("zones", "1", "to type 'array'"),
        ("identity.type", "Nobody", "'Nobody'"),
    ],
)
def test_the_loopback_cloud_knows_wrong_bodies(path: str, value: Any, says: str) -> None:
    assert says in str(wrong_machine(_changed(path, value)))


def test_sizes_newer_than_the_library_are_let_through() -> None:
    assert wrong_machine(_changed("properties.hardwareProfile.vmSize", "Standard_X_v99")) is None
