"""What the things are called that mlbroker uses in a subscription: the same in docs and runs."""

import hashlib
import uuid
from typing import NamedTuple

NODES_TAG = "mlbroker-nodes"
NAME = "mlbroker"
GROUP_PREFIX = f"{NAME}-"
ENDER = "mlbroker-end"
GUEST_ROLE = "mlbroker guest of one run"
_ASSIGNMENTS = uuid.UUID("0b0f4f39-2f1b-4a4f-8a36-5d1f5f0f7d51")


class Names(NamedTuple):
    """The set-up of one region in a subscription: all in one resource group."""

    subscription: str
    region: str

    @property
    def group(self) -> str:
        """The resource group of the set-up; attempts have groups of their own."""
        return GROUP_PREFIX + self.region

    @property
    def account(self) -> str:
        """The storage account. Its name is taken from all of Azure, so it is told by a hash."""
        return "mlb" + _digest(f"{self.subscription}/{self.region}")[:21]

    def vault(self, seat: str) -> str:
        """The key vault of a seat, named likewise."""
        return "mlb-" + _digest(f"{self.subscription}/{self.region}/{seat}")[:20]

    @property
    def container(self) -> str:
        """The container, below its set-up's group."""
        account = f"Microsoft.Storage/storageAccounts/{self.account}"
        return f"{account}/blobServices/default/containers/{NAME}"

    @property
    def ender(self) -> str:
        """The identity of what ends machines from outside."""
        return self.identity(ENDER)

    def seat(self, seat: str) -> str:
        """The identity of the machines on a seat."""
        return self.identity(seat_identity(seat))

    def identity(self, name: str) -> str:
        """A managed identity of the set-up."""
        return self._in_group("Microsoft.ManagedIdentity/userAssignedIdentities", name)

    @property
    def subnet(self) -> str:
        """The subnet of the machines."""
        return self._in_group("Microsoft.Network/virtualNetworks", NAME) + f"/subnets/{NAME}"

    @property
    def firewall(self) -> str:
        """The security group that lets nobody in."""
        return self._in_group("Microsoft.Network/networkSecurityGroups", NAME)

    def workflow(self, token: str) -> str:
        """The Logic App that ends an attempt."""
        return self._in_group("Microsoft.Logic/workflows", token)

    def interface(self, group: str, name: str) -> str:
        """The network interface of one machine of an attempt."""
        return f"{self.attempt(group)}/providers/Microsoft.Network/networkInterfaces/{name}"

    def address(self, group: str, name: str) -> str:
        """The public address of one machine of an attempt."""
        return f"{self.attempt(group)}/providers/Microsoft.Network/publicIPAddresses/{name}"

    def attempt(self, token: str) -> str:
        """The resource group of an attempt."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{token}"

    def _in_group(self, kind: str, name: str) -> str:
        return f"{self.attempt(self.group)}/providers/{kind}/{name}"


def seat_identity(seat: str) -> str:
    """What the identity of a seat is called."""
    return f"{NAME}-seat-{seat}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def assignment_id(scope: str) -> str:
    """By this Azure knows a right that was given before."""
    return str(uuid.uuid5(_ASSIGNMENTS, scope))
