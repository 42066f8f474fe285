"""The request that makes a machine, as a value: closed, and with nothing that outlives it."""

import base64
import hashlib
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.azure.network import Spot
from mlbroker.broker.clouds.azure.shape import Shape
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.rented import checked_token

# Azure makes this user a member of those who may do all: it must not be the job's own, mlbroker.
NOBODY = "azureuser"
_PRICE_STEP_USD = Decimal("0.00001")


def machine_body(
    intent: Intent, names: Names, seat: str, name: str, zone: str | None, shape: Shape, script: str
) -> dict[str, Any]:
    """`virtualMachines` for one machine; its disk, interface and address go when it goes."""
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": shape.size},
        "storageProfile": {
            "imageReference": dict(shape.image),
            "osDisk": {
                "name": name,
                "createOption": "FromImage",
                "deleteOption": "Delete",
                "diskSizeGB": intent.disk_gb,
                "managedDisk": {"storageAccountType": shape.disk_type},
            },
        },
        "osProfile": {
            "computerName": name,
            "adminUsername": NOBODY,
            "customData": base64.b64encode(script.encode()).decode(),
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "ssh": {
                    "publicKeys": [
                        {
                            "path": f"/home/{NOBODY}/.ssh/authorized_keys",
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
                    "id": names.interface(checked_token(intent), name),
                    "properties": {"primary": True, "deleteOption": "Delete"},
                }
            ]
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        "priority": "Regular",
    }
    if intent.market == "spot":
        # Azure ends the machine when its price rises above this: the cap was reckoned with it.
        properties |= {
            "priority": "Spot",
            "evictionPolicy": "Delete",
            "billingProfile": {"maxPrice": float(max_price(intent))},
        }
    if shape.is_trusted:
        properties["securityProfile"] = {
            "securityType": "TrustedLaunch",
            "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
        }
    body: dict[str, Any] = {
        "location": intent.region,
        "tags": dict(intent.tags),
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {names.seat(seat): {}}},
        "properties": properties,
    }
    if shape.plan is not None:
        body["plan"] = dict(shape.plan)
    if zone is not None:
        body["zones"] = [zone]
    return body


def max_price(intent: Intent) -> Decimal:
    """The most that an hour of the spot machine may cost, with the five decimals Azure takes.

    Not above what the cap was reckoned with, unless the price itself has more decimals: below its
    price a machine is never granted.
    """
    rounded = intent.most_per_hour_usd.quantize(_PRICE_STEP_USD, ROUND_DOWN)
    if rounded < intent.price_per_hour_usd:
        rounded = intent.price_per_hour_usd.quantize(_PRICE_STEP_USD, ROUND_UP)
    return rounded


def nobodys_key() -> str:
    """A public key, which Azure insists on; nobody made a private one to it.

    Of RSA with 2048 bits, which every image and size takes
    (learn.microsoft.com/azure/virtual-machines/linux/mac-create-ssh-keys).
    """
    digests = [hashlib.sha256(f"mlbroker: nobody signs in {n}".encode()).digest() for n in range(8)]
    modulus = bytearray(b"".join(digests))
    modulus[0] |= 0x80
    modulus[-1] |= 1
    # With its highest bit set it would be read as negative: a zero goes before it.
    fields = (b"ssh-rsa", b"\x01\x00\x01", b"\0" + bytes(modulus))
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return f"ssh-rsa {base64.b64encode(blob).decode()} nobody"


def interface_body(intent: Intent, names: Names, name: str, spot: Spot) -> dict[str, Any]:
    """`networkInterfaces` for one machine; it goes with the machine, and lets nobody in."""
    about: dict[str, Any] = {"primary": True, "subnet": {"id": spot.subnet}}
    if spot.needs_address:
        about["publicIPAddress"] = {
            "id": names.address(checked_token(intent), name),
            "properties": {"deleteOption": "Delete"},
        }
    return {
        "location": intent.region,
        "tags": dict(intent.tags),
        "properties": {
            "networkSecurityGroup": {"id": spot.firewall},
            "ipConfigurations": [{"name": "only", "properties": about}],
        },
    }


def address_body(intent: Intent) -> dict[str, Any]:
    """`publicIPAddresses` for one machine, by which it reaches the internet."""
    return {
        "location": intent.region,
        "tags": dict(intent.tags),
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static"},
    }
