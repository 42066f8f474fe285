"""A strict Azure on loopback: Resource Manager, blobs, a key vault, on a virtual clock."""

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.aws.clock import VirtualClock
from tests.support.aws.guests import Guest, Script
from tests.support.aws.request import Answer, Environ, StartResponse
from tests.support.azure.arm import Arm
from tests.support.azure.blobs import PREFIX as STORAGE
from tests.support.azure.blobs import Blobs, refuse_xml
from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.faults import Faults
from tests.support.azure.guests import AzureSandboxes, Metadata, token
from tests.support.azure.machines import Vm
from tests.support.azure.rights import GUEST, IN_ITS_GROUP, LAUNCHER, action_of, group_of, missing
from tests.support.azure.schema import JSON, found, refuse
from tests.support.azure.vault import PREFIX as VAULTS
from tests.support.azure.vault import Vault
from tests.support.doom import Doom
from tests.support.gcp.request import Request
from tests.support.loopback import KeepAlive, lose, standing

from mlbroker.broker.clouds.azure_names import Names

_MACHINE = re.compile(r"/_machine/([-0-9a-f]+)/(.*)")
_OPERATION = re.compile(r".*/operation(?:s|results)/([-0-9a-f]+)")
WAIT_S = 120.0
# In real time, one answer about an operation comes this soon: a thread is held no longer.
HELD_S = 5.0


class StrictAzure:
    """The WSGI application, and the handles by which a test plays fate."""

    def __init__(self, frozen: bool = False) -> None:
        self.clock = VirtualClock(frozen)
        self.faults = Faults()
        self.url = ""
        self.doom = Doom()
        self.arm = Arm(self.clock, self.faults, lambda: self.url, self._started, self._ended)
        self.blobs = Blobs()
        self.vault = Vault(self.clock)
        self.metadata = Metadata(self.clock)
        self.guest: Guest = self._script()
        self.calls: list[tuple[str, str]] = []
        self.requests: list[Request] = []
        self.denied: list[tuple[str, str]] = []
        self._frozen = frozen

    # What a test does to this world.

    def calm(self) -> None:
        """Take back every fault, shortage and delay; what was launched stays."""
        self.faults.clear()
        self.doom.left = None
        self.arm.calm()
        self.guest = self._script()
        for log in (self.calls, self.requests, self.denied):
            log.clear()

    def vms(self, token: str | None = None) -> list[Vm]:
        """All machines there ever were, or those of one token."""
        return [vm for vm in self.arm.estate.vms if token in (None, vm.token)]

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        """As the machine would: into its run's folder in the bucket."""
        self._bucket(vm)[f"runs/{vm.token}/{name}"] = data

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        return self._bucket(vm).get(f"runs/{vm.token}/{name}")

    def _bucket(self, vm: Vm) -> dict[str, bytes]:
        return self.blobs.accounts[Names(SUBSCRIPTION, vm.region).account]

    def delete_itself(self, vm: Vm) -> None:
        """The machine's last act; where it may not, it can only shut down."""
        group = self.arm.estate.group(vm.group)
        if group is None:
            return
        if self.faults.guests_may_delete and self.arm.rights.may_delete(vm.group):
            if vm.name == vm.group:
                self.arm.delete_group(group)
            else:
                self.arm.delete_machine(vm)
        else:
            self.arm.stop(vm)

    def _script(self) -> Script:
        return Script(self.clock, self, self.delete_itself)  # type: ignore[arg-type]

    def _started(self, vm: Vm) -> None:
        self.guest.start(vm)  # type: ignore[arg-type]

    def _ended(self, vm: Vm) -> None:
        self.guest.end(vm)  # type: ignore[arg-type]

    # The protocol.

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        request = Request.read(environ)
        own = self._own(request)
        if own is not None:
            return own.send(start)
        request.action = action_of(request)
        self._let_operation_end(request)
        with self.clock.lock:
            self.clock.tick()
            who = _who(request.token)
            self.calls.append((who or "nobody", request.action))
            self.requests.append(request)
            refusal = self._refused(request, who)
            if refusal is not None:
                return refusal.send(start)
            doomed = self.doom.strikes(who == LAUNCHER)
            if doomed and self.doom.before:
                self.doom.kill()
                return lose(environ)
            outcome = self.faults.before(request)
            if isinstance(outcome, Answer):
                return outcome.send(start)
            if outcome == "before":
                return lose(environ)
            answer = self._answer(request)
            if doomed:
                self.doom.kill()
        if outcome == "after":
            return lose(environ)
        return answer.send(start)

    def _refused(self, request: Request, who: str | None) -> Answer | None:
        say = refuse_xml if request.path.startswith(STORAGE) else refuse
        if who is None:
            return say(401, "AuthenticationFailed", "Authentication failed.")
        group = group_of(request)
        if who == GUEST and group and request.action in IN_ITS_GROUP:
            allowed = self.faults.guests_may_delete and self.arm.rights.may_delete(group)
            lacking = None if allowed else request.action
        else:
            lacking = missing(who, request.action)
        if lacking is None:
            return None
        self.denied.append((who, lacking))
        return say(
            403,
            "AuthorizationFailed",
            f"The client does not have authorization to perform action '{lacking}' over scope "
            f"'{request.path}'.",
        )

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith(STORAGE):
            return self.blobs.answer(request)
        if request.path.startswith(VAULTS):
            return self.vault.answer(request)
        try:
            return self.arm.answer(request)
        except ValueError as error:
            return refuse(400, "InvalidRequestContent", str(error))

    def _let_operation_end(self, request: Request) -> None:
        """Asking is answered when the operation is done, or after a while."""
        matched = _OPERATION.fullmatch(request.path)
        operation = self.arm.estate.operations.get(matched.group(1)) if matched else None
        held = 0.0
        while operation is not None and operation.done_at is None:
            if held >= (WAIT_S if self._frozen else HELD_S):
                return
            if self._frozen:
                self.clock.advance(1)
                held += 1
            else:
                time.sleep(0.05)
                held += 0.05

    def _own(self, request: Request) -> Answer | None:
        """What is no API: sign-in, the metadata service, the machine's buttons, the clock."""
        if request.path == "/metadata/identity/oauth2/token":
            if "sign-in" in self.faults.errors:
                return refuse(*self.faults.errors["sign-in"])
            return found(token("launcher-token", request))
        if request.path == "/_clock":
            if request.method == "POST":
                self.clock.advance(float(request.query["seconds"]))
            return found({"now": self.clock.now().isoformat()})
        if request.path == "/_victim":
            self.doom.victim = int(request.query["pid"])
            return found({})
        if request.path.startswith("/_console/"):
            text = self.guest.console(request.path.rpartition("/")[2])
            return Answer("200 OK", [("Content-Type", "text/plain")], text.encode())
        matched = _MACHINE.fullmatch(request.path)
        return self._button(request, *matched.groups()) if matched else None

    def _button(self, request: Request, id_: str, what: str) -> Answer:
        vm = next((vm for vm in self.arm.estate.vms if vm.id == id_), None)
        if vm is None or vm.ends_at is not None or vm.stopped_at is not None:
            return Answer("404 Not Found", JSON)
        if what == "poweroff":
            # Answered first: ending the machine ends the one who asks.
            self.clock.after(0, lambda: self.arm.stop(vm))
            return Answer("200 OK", JSON)
        if what == "timer":
            over = threading.Event()
            self.clock.after(float(request.query["seconds"].rstrip("s")), over.set)
            while not over.wait(0.5):
                if vm.ends_at is not None or vm.stopped_at is not None:
                    return Answer("404 Not Found", JSON)
            return Answer("200 OK", JSON)
        return self.metadata.answer(vm, what.removeprefix("metadata/"), request)


def _who(given: str) -> str | None:
    if given == "launcher-token":
        return LAUNCHER
    return GUEST if given.startswith("guest-") else None


@contextmanager
def serving(
    *, frozen: bool = False, execute: bool = False, as_nobody: bool = False, port: int = 0
) -> Iterator[StrictAzure]:
    """A running loopback cloud with mlbroker set up in its regions.

    With `execute`, machines run their custom data; else a script in virtual time stands for them.
    """
    world = StrictAzure(frozen)
    sandboxes = AzureSandboxes(lambda: world.url, as_nobody) if execute else None
    with ExitStack() as stack:
        if sandboxes is not None:
            stack.callback(sandboxes.close)
        stack.enter_context(
            standing(world, world.arm.estate.living, KeepAlive, frozen=frozen, port=port)
        )
        if sandboxes is not None:
            world.guest = sandboxes
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
