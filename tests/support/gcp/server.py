"""A strict Google Cloud on loopback: Compute Engine, a bucket, secrets, on a virtual clock."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.gcp import catalog
from tests.support.gcp.bills import EXPORT, Bills
from tests.support.gcp.bucket import Storage, refuse_xml
from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.discovery import JSON, api, found, refuse
from tests.support.gcp.faults import GcpFaults
from tests.support.gcp.gce import Gce
from tests.support.gcp.guests import GcpSandboxes, Metadata
from tests.support.gcp.machines import Vm
from tests.support.gcp.queries import paged
from tests.support.gcp.rights import guest_lacks, launcher_lacks, rights_of
from tests.support.gcp.vault import Vault
from tests.support.loopback import KeepAlive
from tests.support.loopback_http import GUEST, Answer, Environ, TokenRequest
from tests.support.strict import StrictCloud, folder_in, served

from mlbroker.broker.clouds.seats import LEASES

_SERVICES = (
    ("compute.v1", "/compute/v1/"),
    ("secretmanager.v1", "/v1/"),
    ("cloudresourcemanager.v1", "/v1/"),
    ("iam.v1", "/v1/"),
    ("bigquery.v2", "/bigquery/v2/"),
)


class StrictGcp(StrictCloud):
    """Its machines live in `gce`."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.faults = GcpFaults()
        self.control = self.gce = Gce(self.clock, self.faults, self.started, self.ended)
        self.storage = Storage()
        self.vault = Vault(self.clock)
        self.bills = Bills(self.bill)
        self.metadata = Metadata(self.clock, lambda vm: f"guest-{vm.id}")
        self.gce.console = lambda id_: self.guest.console(id_)  # type: ignore[method-assign]
        # Permissions that the launcher was not given.
        self.missing: set[str] = set()

    def calm(self) -> None:
        super().calm()
        self.gce.calm()
        self.missing.clear()
        for objects in self.storage.buckets.values():
            objects.pop(LEASES, None)

    def sell_all(self) -> None:
        catalog.sell_all()

    def sell_out(self, what: str) -> None:
        self.gce.limits.capacity["*", what, "*"] = 0

    def machines(self) -> Iterable[Vm]:
        return list(self.gce.machines.all)

    def stored(self) -> list[str]:
        return [key for _, key in self.storage.stored()]

    def secrets(self) -> list[str]:
        return self.vault.names()

    def ended_by(self, vm: Vm) -> list[str]:
        operations = self.gce.machines.operations.values()
        return [o.user for o in operations if o.target_id == vm.id and o.kind == "delete"]

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        self._bucket(vm)[f"{folder_in(vm.user_data)}/{name}"] = data

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        return self._bucket(vm).get(f"{folder_in(vm.user_data)}/{name}")

    def _bucket(self, vm: Vm) -> dict[str, bytes]:
        return self.storage.buckets[f"mlbroker-{PROJECT}-{vm.region}"]

    def delete_itself(self, vm: Vm) -> None:
        """The machine's last act; where it may not, it waits, and shuts down when it is late."""
        if self.faults.guests_may_delete:
            self.gce.delete(vm, user=GUEST)
        elif vm.terminates_at is None or self.clock.now() > vm.terminates_at:
            self.gce.stop(vm)

    def power_off(self, vm: Vm) -> None:
        self.gce.stop(vm)

    def read(self, environ: Environ) -> TokenRequest:
        return TokenRequest.read(environ)

    def prepare(self, request: TokenRequest) -> None:
        request.service = self._service(request)
        if request.action == "compute.zoneOperations.wait":
            self.let_end(self.gce.machines.operations.get(request.path.split("/")[-2]))

    def _service(self, request: TokenRequest) -> str:
        for name, prefix in _SERVICES:
            if not request.path.startswith(prefix):
                continue
            method = api(name).find(request.method, request.path)
            if method is not None:
                request.action = method.id
                return name
        if request.path.startswith(("/compute/v1/", "/v1/")):
            return "nothing"
        request.action = Storage.action(request)
        return "storage"

    def refused(self, request: TokenRequest) -> Answer | None:
        who = request.who
        say = refuse_xml if request.service == "storage" else refuse
        if who is None:
            return say(401, "authError", "TokenRequest had invalid authentication credentials.")
        missing = self._lacks(who, request)
        if missing:
            self.denied.append((who, missing))
            return say(403, "forbidden", f"Required '{missing}' permission for '{request.path}'")
        if who == GUEST and request.action == "storage.objects.get" and not self._is_there(request):
            # Whoever may not list is not told that there is no such object.
            return say(403, "AccessDenied", "Access denied: storage.objects.list is required")
        return None

    def _lacks(self, who: str, request: TokenRequest) -> str | None:
        """The permission that is missing for this request."""
        if who != GUEST:
            return launcher_lacks(request.action, self.missing)
        if request.action == "compute.instances.delete" and not self.faults.guests_may_delete:
            return request.action
        vm = next((vm for vm in self.machines() if request.bearer == f"guest-{vm.id}"), None)
        return guest_lacks(request, vm, self.gce.machines.living())

    def _is_there(self, request: TokenRequest) -> bool:
        bucket, _, key = request.path.lstrip("/").partition("/")
        return key in self.storage.buckets.get(bucket, {})

    def paid_as(self, request: TokenRequest) -> str | None:
        """Operations of class A (what writes or lists), of class B, and DELETE, which is free
        (cloud.google.com/storage/pricing, "Operations that apply to each charge").
        """
        if request.service != "storage" or request.method == "DELETE":
            return None
        return "read" if request.action.endswith(".get") else "write"

    def answer(self, request: TokenRequest) -> Answer:
        service = request.service
        if service == "storage":
            answer = self.storage.answer(request, self.faults.page)
            return paged(request, answer, self.faults.page) if _is_list(request) else answer
        if service == "nothing":
            return refuse(404, "notFound", f"{request.method} {request.path} is no method")
        method = api(service).find(request.method, request.path)
        assert method is not None
        wrong = api(service).refused(method, request.query, request.body)
        if wrong is not None:
            return wrong
        if service == "bigquery.v2":
            return self.bills.answer(request, method, self.faults.page)
        if service == "secretmanager.v1":
            return self.vault.answer(request, method)
        if method.id.endswith("testIamPermissions"):
            return rights_of(request, method, self.missing)
        try:
            answer = self.gce.answer(request, method)
            return paged(request, answer, self.faults.page) if _is_list(request) else answer
        except ValueError as error:
            return refuse(400, "invalid", str(error))

    def aside(self, request: TokenRequest) -> Answer | None:
        """Sign-in."""
        if request.path != "/token":
            return None
        if "oauth2.token" in self.faults.errors:
            code, reason, message = self.faults.errors["oauth2.token"]
            body = {"error": reason, "error_description": message}
            return Answer(f"{code} {reason}", JSON, json.dumps(body).encode())
        return found({"access_token": "launcher-token", "expires_in": 3599,
                      "token_type": "Bearer"})  # fmt: skip

    def metadata_of(self, vm: Vm, what: str, request: TokenRequest) -> Answer:
        return self.metadata.answer(vm, what, request)


def _is_list(request: TokenRequest) -> bool:
    """Whether the answer is a list in JSON."""
    in_json = request.action != "storage.objects.list"
    return in_json and request.action.lower().endswith("list")


@contextmanager
def serving(
    *, frozen: bool = False, execute: bool = False, as_nobody: bool = False, port: int = 0
) -> Iterator[StrictGcp]:
    """A running loopback cloud with mlbroker set up in its regions.

    With `execute`, machines run their start-up script; else a script in virtual time stands for
    them.
    """
    world = StrictGcp(frozen)
    sandboxes = GcpSandboxes(lambda: world.url, as_nobody) if execute else None
    with served(world, world.gce.machines.living, KeepAlive, sandboxes, frozen=frozen, port=port):
        yield world


def environment(url: str, folder: Path, home: Path | None = None) -> dict[str, str]:
    """What a program needs in its environment to take this for Google Cloud."""
    credentials = folder / "launcher.json"
    # Of all kinds of credentials this one asks nobody but the addresses it names.
    document = {
        "type": "external_account_authorized_user",
        "audience": "loopback",
        "client_id": "launcher",
        "client_secret": "loopback",
        "refresh_token": "loopback",
        "token_url": f"{url}/token",
    }
    folder.mkdir(parents=True, exist_ok=True)
    credentials.write_text(json.dumps(document))
    found = {
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": url + "/compute/v1/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": url + "/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER": url + "/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM": url + "/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": url + "/bigquery/v2/",
        "MLBROKER_GCP_BILLING_EXPORT": EXPORT,
        "STORAGE_EMULATOR_HOST": url,
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1"))),
    }
    return {**found, "MLBROKER_HOME": str(home)} if home else found
