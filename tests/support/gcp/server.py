"""A strict Google Cloud on loopback: Compute Engine, a bucket, secrets, on a virtual clock."""

import json
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
from tests.support.doom import Doom
from tests.support.gcp.bucket import Storage, refuse_xml
from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.discovery import JSON, api, found, refuse
from tests.support.gcp.faults import Faults
from tests.support.gcp.gce import Gce
from tests.support.gcp.guests import GcpSandboxes, Metadata
from tests.support.gcp.machines import Vm
from tests.support.gcp.request import Request
from tests.support.gcp.rights import GUEST, LAUNCHER, may, rights_of
from tests.support.gcp.vault import Vault
from tests.support.loopback import KeepAlive, lose, standing

_MACHINE = re.compile(r"/_machine/(\d+)/(.*)")
_SERVICES = (
    ("compute.v1", "/compute/v1/"),
    ("secretmanager.v1", "/v1/"),
    ("cloudresourcemanager.v1", "/v1/"),
    ("iam.v1", "/v1/"),
)
WAIT_S = 120.0
# In real time, one answer to a wait comes this soon: a thread is held no longer.
HELD_S = 5.0


class StrictGcp:
    """The WSGI application, and the handles by which a test plays fate."""

    def __init__(self, frozen: bool = False) -> None:
        self.clock = VirtualClock(frozen)
        self.faults = Faults()
        self.gce = Gce(self.clock, self.faults, self._started, self._ended)
        self.storage = Storage()
        self.vault = Vault(self.clock)
        self.metadata = Metadata(self.clock, lambda vm: f"guest-{vm.id}")
        self.guest: Guest = self._script()
        self.gce.console = lambda id_: self.guest.console(id_)  # type: ignore[method-assign]
        self.calls: list[tuple[str, str]] = []
        self.requests: list[Request] = []
        self.denied: list[tuple[str, str]] = []
        # Permissions that the launcher was not given.
        self.missing: set[str] = set()
        self.url = ""
        self.doom = Doom()
        self._frozen = frozen

    # What a test does to this world.

    def calm(self) -> None:
        """Take back every fault, shortage and delay; what was launched stays."""
        self.faults.clear()
        self.doom.left = None
        self.gce.calm()
        self.guest = self._script()
        for log in (self.calls, self.requests, self.denied, self.missing):
            log.clear()

    def vms(self, token: str | None = None) -> list[Vm]:
        """All machines there ever were, or those of one token."""
        return [vm for vm in self.gce.machines.all if token in (None, vm.token)]

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        """As the machine would: into its run's folder in the bucket."""
        self._bucket(vm)[f"runs/{vm.token}/{name}"] = data

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        return self._bucket(vm).get(f"runs/{vm.token}/{name}")

    def _bucket(self, vm: Vm) -> dict[str, bytes]:
        return self.storage.buckets[f"mlbroker-{PROJECT}-{vm.region}"]

    def delete_itself(self, vm: Vm) -> None:
        """The machine's last act; where it may not, it waits, and shuts down when it is late."""
        if self.faults.guests_may_delete:
            self.gce.delete(vm, user=GUEST)
        elif vm.terminates_at is None or self.clock.now() > vm.terminates_at:
            self.gce.stop(vm)

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
        service = self._service(request)
        self._let_operation_end(request)
        with self.clock.lock:
            self.clock.tick()
            who = _who(request.token)
            self.calls.append((who or "nobody", request.action))
            self.requests.append(request)
            refusal = self._refused(request, who, service)
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
            answer = self._answer(request, service)
            if doomed:
                self.doom.kill()
        if outcome == "after":
            return lose(environ)
        return answer.send(start)

    def _service(self, request: Request) -> str:
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

    def _refused(self, request: Request, who: str | None, service: str) -> Answer | None:
        say = refuse_xml if service == "storage" else refuse
        if who is None:
            return say(401, "authError", "Request had invalid authentication credentials.")
        missing = may(who, request.action, self.missing, self.faults.guests_may_delete)
        if missing:
            self.denied.append((who, missing))
            return say(403, "forbidden", f"Required '{missing}' permission for '{request.path}'")
        return None

    def _answer(self, request: Request, service: str) -> Answer:
        if service == "storage":
            return self.storage.answer(request)
        if service == "nothing":
            return refuse(404, "notFound", f"{request.method} {request.path} is no method")
        method = api(service).find(request.method, request.path)
        assert method is not None
        wrong = api(service).refused(method, request.query, request.body)
        if wrong is not None:
            return wrong
        if service == "secretmanager.v1":
            return self.vault.answer(request, method)
        if method.id.endswith("testIamPermissions"):
            return rights_of(request, method, self.missing)
        try:
            return self.gce.answer(request, method)
        except ValueError as error:
            return refuse(400, "invalid", str(error))

    def _let_operation_end(self, request: Request) -> None:
        """A wait is answered when the operation is done, or two minutes are over."""
        if request.action != "compute.zoneOperations.wait":
            return
        operation = self.gce.machines.operations.get(request.path.split("/")[-2])
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
        """What is no API: sign-in, the metadata server, the machine's buttons, the clock."""
        if request.path == "/token":
            if "oauth2.token" in self.faults.errors:
                code, reason, message = self.faults.errors["oauth2.token"]
                body = {"error": reason, "error_description": message}
                return Answer(f"{code} {reason}", JSON, json.dumps(body).encode())
            return found({"access_token": "launcher-token", "expires_in": 3599,
                          "token_type": "Bearer"})  # fmt: skip
        if request.path == "/_clock":
            if request.method == "POST":
                self.clock.advance(float(request.query["seconds"]))
            return found({"now": self.clock.now().isoformat()})
        if request.path == "/_victim":
            self.doom.victim = int(request.query["pid"])
            return found({})
        matched = _MACHINE.fullmatch(request.path)
        if matched is None:
            return None
        vm = next((vm for vm in self.gce.machines.all if vm.id == matched.group(1)), None)
        if vm is None or vm.ends_at is not None or vm.stopped_at is not None:
            return Answer("404 Not Found", JSON)
        what = matched.group(2)
        if what == "poweroff":
            # Answered first: ending the machine ends the one who asks.
            self.clock.after(0, lambda: self.gce.stop(vm))
            return Answer("200 OK", JSON)
        if what == "timer":
            over = threading.Event()
            self.clock.after(float(request.query["seconds"].rstrip("s")), over.set)
            while not over.wait(0.5):
                if vm.ends_at is not None or vm.stopped_at is not None:
                    return Answer("404 Not Found", JSON)
            return Answer("200 OK", JSON)
        return self.metadata.answer(vm, what, request)


def _who(token: str) -> str | None:
    """Whose token it is."""
    if token == "launcher-token":
        return LAUNCHER
    if token.startswith("guest-"):
        return GUEST
    return None


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
    with ExitStack() as stack:
        if sandboxes is not None:
            stack.callback(sandboxes.close)
        stack.enter_context(
            standing(world, world.gce.machines.living, KeepAlive, frozen=frozen, port=port)
        )
        if sandboxes is not None:
            world.guest = sandboxes
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
        "STORAGE_EMULATOR_HOST": url,
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1"))),
    }
    return {**found, "MLBROKER_HOME": str(home)} if home else found
