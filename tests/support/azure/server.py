"""A strict Azure on loopback: Resource Manager, blobs, a key vault, on a virtual clock."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.azure import bills, catalog
from tests.support.azure.arm import Arm
from tests.support.azure.blobs import PREFIX as STORAGE
from tests.support.azure.blobs import Blobs, refuse_xml
from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.documents import PRINCIPALS
from tests.support.azure.faults import AzureFaults
from tests.support.azure.guests import AzureSandboxes, Metadata, token
from tests.support.azure.machines import Vm
from tests.support.azure.rights import IN_ITS_GROUP, action_of, granted, group_of, missing
from tests.support.azure.schema import found, refuse
from tests.support.azure.vault import PREFIX as VAULTS
from tests.support.azure.vault import Vault
from tests.support.loopback import KeepAlive
from tests.support.loopback_http import GUEST, Answer, Environ, TokenRequest
from tests.support.strict import StrictCloud, folder_in, served

from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.seats import LEASES

_OPERATION = re.compile(r".*/operation(?:s|results)/([-0-9a-f]+)")


class StrictAzure(StrictCloud):
    """Its groups and machines live in `arm`."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.faults = AzureFaults()
        self.control = self.arm = Arm(
            self.clock, self.faults, lambda: self.url, self.started, self.ended
        )
        self.blobs = Blobs()
        self.bills = bills.Bills(self.bill)
        self.vault = Vault(self.clock)
        self.metadata = Metadata(self.clock)

    def calm(self) -> None:
        super().calm()
        self.arm.calm()
        for blobs in self.blobs.accounts.values():
            blobs.pop(LEASES, None)

    def sell_all(self) -> None:
        catalog.sell_all()

    def sell_out(self, what: str) -> None:
        self.arm.limits.capacity[what, "*", "*"] = 0

    def machines(self) -> Iterable[Vm]:
        return list(self.arm.machines.all)

    def stored(self) -> list[str]:
        return [key for blobs in self.blobs.accounts.values() for key in blobs]

    def secrets(self) -> list[str]:
        return self.vault.names()

    def ended_by(self, vm: Vm) -> list[str]:
        """Of a group, as that is what ends a machine; the loopback cloud is cleared of others."""
        asked = "Microsoft.Resources/subscriptions/resourceGroups/delete"
        return list(dict.fromkeys(who for who, action in self.calls if action == asked))

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        self._bucket(vm)[f"{folder_in(vm.user_data)}/{name}"] = data

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        return self._bucket(vm).get(f"{folder_in(vm.user_data)}/{name}")

    def _bucket(self, vm: Vm) -> dict[str, bytes]:
        return self.blobs.accounts[Names(SUBSCRIPTION, vm.region).account]

    def delete_itself(self, vm: Vm) -> None:
        """The machine's last act; where it may not, it can only shut down."""
        group = self.arm.machines.group(vm.group)
        if group is None:
            return
        if self.faults.guests_may_delete and self.arm.rights.may_delete(vm.group, vm.identity):
            if vm.name == vm.group:
                self.arm.delete_group(group, PRINCIPALS[vm.identity])
            else:
                self.arm.delete_machine(vm)
        else:
            self.arm.stop(vm)

    def power_off(self, vm: Vm) -> None:
        self.arm.stop(vm)

    def read(self, environ: Environ) -> TokenRequest:
        return TokenRequest.read(environ)

    def prepare(self, request: TokenRequest) -> None:
        request.action = action_of(request)
        matched = _OPERATION.fullmatch(request.path)
        self.let_end(self.arm.machines.operations.get(matched.group(1)) if matched else None)

    def refused(self, request: TokenRequest) -> Answer | None:
        who = request.who
        say = refuse_xml if request.path.startswith(STORAGE) else refuse
        if who is None:
            return say(401, "AuthenticationFailed", "Authentication failed.")
        lacking = self._lacks(who, request)
        if lacking is None:
            return None
        self.denied.append((who, lacking))
        return say(
            403,
            "AuthorizationFailed",
            f"The client does not have authorization to perform action '{lacking}' over scope "
            f"'{request.path}'.",
        )

    def _lacks(self, who: str, request: TokenRequest) -> str | None:
        """The right that is missing for this request."""
        if who != GUEST:
            return missing(request)
        vm = next((vm for vm in self.machines() if request.bearer == f"guest-{vm.id}"), None)
        group = group_of(request)
        if vm is None:
            allowed = False
        elif group and request.action in IN_ITS_GROUP:
            may = self.arm.rights.may_delete(group, vm.identity)
            allowed = self.faults.guests_may_delete and may
        else:
            allowed = granted(vm.identity, request)
        return None if allowed else request.action

    def paid_as(self, request: TokenRequest) -> str | None:
        """Blobs: lists are priced as writes are, deletions are free, be they in a batch or not
        (azure.microsoft.com/pricing/details/storage/blobs).
        """
        if not request.path.startswith(STORAGE) or request.action.endswith("/delete"):
            return None
        whole = request.path.removeprefix(STORAGE).count("/") < 2
        return "write" if whole or request.action.endswith("/write") else "read"

    def answer(self, request: TokenRequest) -> Answer:
        if request.path.startswith(STORAGE):
            return self.blobs.answer(request)
        if request.path.startswith(VAULTS):
            return self.vault.answer(request)
        if request.path.endswith(bills.PATH):
            return self.bills.answer(request, self.url)
        try:
            return self.arm.answer(request)
        except ValueError as error:
            return refuse(400, "InvalidRequestContent", str(error))

    def aside(self, request: TokenRequest) -> Answer | None:
        """Sign-in, and the consoles."""
        if request.path == "/metadata/identity/oauth2/token":
            if "sign-in" in self.faults.errors:
                return refuse(*self.faults.errors["sign-in"])
            return found(token("launcher-token", request))
        if request.path.startswith("/_console/"):
            text = self.guest.console(request.path.rpartition("/")[2])
            return Answer("200 OK", [("Content-Type", "text/plain")], text.encode())
        return None

    def metadata_of(self, vm: Vm, what: str, request: TokenRequest) -> Answer:
        return self.metadata.answer(vm, what.removeprefix("metadata/"), request)


@contextmanager
def serving(
    *, frozen: bool = False, execute: bool = False, as_nobody: bool = False, port: int = 0
) -> Iterator[StrictAzure]:
    """A running loopback cloud with mlbroker set up in its regions.

    With `execute`, machines run their custom data; else a script in virtual time stands for them.
    """
    world = StrictAzure(frozen)
    sandboxes = AzureSandboxes(lambda: world.url, as_nobody) if execute else None
    with served(world, world.arm.machines.living, KeepAlive, sandboxes, frozen=frozen, port=port):
        yield world


def environment(url: str, home: Path | None = None) -> dict[str, str]:
    """What a program needs in its environment to take this for Azure."""
    found = {
        "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        # Signed in as a machine with an identity is: by asking a metadata service.
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": url,
        "MLBROKER_AZURE_MANAGEMENT_URL": url,
        "MLBROKER_AZURE_STORAGE_URL": url + "/storage",
        "MLBROKER_AZURE_VAULT_URL": url + "/vault",
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1"))),
    }
    return {**found, "MLBROKER_HOME": str(home)} if home else found
