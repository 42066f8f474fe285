"""What the things are called that mlbroker uses in a subscription: the same in docs and runs."""

import hashlib
import uuid
from typing import NamedTuple

NODES_TAG = "mlbroker-nodes"
NAME = "mlbroker"
GROUP_PREFIX = f"{NAME}-"
GUEST = "mlbroker-guest"
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
        return "mlb" + self._digest[:21]

    @property
    def vault(self) -> str:
        """The key vault, named likewise."""
        return "mlb-" + self._digest[:20]

    @property
    def guest(self) -> str:
        """The identity of the machines, and of what ends them from outside."""
        return self._in_group("Microsoft.ManagedIdentity/userAssignedIdentities", GUEST)

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

    @property
    def _digest(self) -> str:
        return hashlib.sha256(f"{self.subscription}/{self.region}".encode()).hexdigest()


def assignment_id(scope: str) -> str:
    """By this Azure knows the guest's right on a group that was given before."""
    return str(uuid.uuid5(_ASSIGNMENTS, scope))
