"""A strict AWS on loopback: moto behind what the real services insist on, on a virtual clock."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

os.environ.setdefault("MOTO_ENABLE_AMI_VALIDATION", "true")
os.environ.setdefault("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.support.aws import account, recorded
from tests.support.aws.clock import VirtualClock
from tests.support.aws.ec2 import ENABLED, Ec2
from tests.support.aws.faults import Faults
from tests.support.aws.guests import Guest, Metadata, Sandboxes, Script
from tests.support.aws.kills import Kills
from tests.support.aws.machines import Vm
from tests.support.aws.request import Answer, Environ, Request, StartResponse
from tests.support.doom import Doom
from tests.support.loopback import Quiet, lose, standing

ACCOUNT = "123456789012"
_MACHINE = re.compile(r"/_machine/(i-[0-9a-f]+)/(.*)")


class StrictAws:
    """The WSGI application, and the handles by which a test plays fate."""

    def __init__(self, frozen: bool = False) -> None:
        self.clock = VirtualClock(frozen)
        self.faults = Faults()
        self.ec2 = Ec2(self.clock, self.faults, ACCOUNT, self._started, self._ended)
        self.kills = Kills(self.clock, self.faults, self.ec2, ACCOUNT)
        self.metadata = Metadata(self.clock)
        self.guest: Guest = Script(self.clock, self, self.ec2.power_off)
        self.ec2.console = lambda id_: self.guest.console(id_)  # type: ignore[method-assign]
        self.quotas: dict[str, float] = {}
        # What Cost Explorer says of each run.
        self.bill: dict[str, str] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.requests: list[Request] = []
        self.url = ""
        self.doom = Doom()
        self._moto = DomainDispatcherApplication(create_backend_app)

    # What a test does to this world.

    def calm(self) -> None:
        """Take back every fault, shortage and delay; what was launched stays."""
        self.faults.clear()
        self.ec2.calm()
        self.quotas.clear()
        self.bill.clear()
        self.doom.left = None
        self.guest = Script(self.clock, self, self.ec2.power_off)
        self.calls.clear()
        self.requests.clear()

    def renew(self, regions: tuple[str, ...] = ENABLED) -> None:
        """An account that is set up, and in which nothing ever ran."""
        account.reset()
        self.clock.forget()
        self.ec2.machines.forget()
        self.calm()
        account.set_up(self.url, regions)
        self.calls.clear()
        self.requests.clear()

    def vms(self, token: str | None = None) -> list[Vm]:
        """All machines there ever were, or those of one token."""
        return [vm for vm in self.ec2.machines.all.values() if token in (None, vm.token)]

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        """What lies in the run's folder under this name."""
        from moto.s3.models import s3_backends

        backend: Any = s3_backends[ACCOUNT]["aws"]
        bucket = backend.buckets.get(f"mlbroker-{ACCOUNT}-{vm.region}")
        found = bucket.keys.get(f"runs/{vm.token}/{name}") if bucket else None
        return None if found is None else bytes(found.value)

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        """As the machine would: into its run's folder in the bucket."""
        from moto.s3.models import s3_backends

        bucket = f"mlbroker-{ACCOUNT}-{vm.region}"
        with suppress(Exception):
            s3_backends[ACCOUNT]["aws"].put_object(bucket, f"runs/{vm.token}/{name}", data)

    def _started(self, vm: Vm) -> None:
        self.guest.start(vm)

    def _ended(self, vm: Vm) -> None:
        self.guest.end(vm)

    # The protocol.

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        request = Request.read(environ)
        own = self._own(request)
        if own is not None:
            return own.send(start)
        with self.clock.lock:
            self.clock.tick()
            if request.service:
                self.calls.append((request.key, request.service, request.action))
                self.requests.append(request)
            doomed = self.doom.strikes(request.key == "launcher")
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

    def _answer(self, request: Request) -> Answer:
        known = recorded.answer(request, self.quotas, self.bill)
        if known is not None:
            return known
        if request.service == "ec2":
            return self.ec2.answer(request, self._forward)
        if request.service == "scheduler":
            return self.kills.answer(request, self._forward)
        return self._forward(request)

    def _forward(self, request: Request) -> Answer:
        return Answer.of(self._moto, request)

    def _own(self, request: Request) -> Answer | None:
        """What is no API: the metadata service, the machine's buttons, the clock."""
        headers = [("Content-Type", "application/json")]
        query = {k: v[0] for k, v in parse_qs(request.environ.get("QUERY_STRING", "")).items()}
        if request.path == "/_clock":
            if request.method == "POST":
                self.clock.advance(float(query["seconds"]))
            body = json.dumps({"now": self.clock.now().isoformat()}).encode()
            return Answer("200 OK", headers, body)
        if request.path == "/_victim":
            self.doom.victim = int(query["pid"])
            return Answer("200 OK", headers)
        found = _MACHINE.fullmatch(request.path)
        if found is None:
            return None
        vm = self.ec2.machines.all.get(found.group(1))
        if vm is None or vm.ends_at is not None:
            return Answer("404 Not Found", headers)
        if found.group(2) == "poweroff":
            # Answered first: ending the machine ends the one who asks.
            self.clock.after(0, lambda: self.ec2.power_off(vm))
            return Answer("200 OK", headers)
        if found.group(2) == "timer":
            self.clock.after(float(query["seconds"]), lambda: self.ec2.power_off(vm))
            return Answer("200 OK", headers)
        return self.metadata.answer(vm, found.group(2), request)


@contextmanager
def serving(
    *, frozen: bool = False, execute: bool = False, as_nobody: bool = False, port: int = 0
) -> Iterator[StrictAws]:
    """A running loopback cloud with mlbroker set up in its regions.

    With `execute`, machines run their user-data; else a script in virtual time stands for them.
    """
    world = StrictAws(frozen)
    sandboxes = Sandboxes(lambda: world.url, as_nobody) if execute else None
    with ExitStack() as stack:
        if sandboxes is not None:
            stack.callback(sandboxes.close)
        stack.enter_context(
            standing(world, world.ec2.machines.living, Quiet, frozen=frozen, port=port)
        )
        world.renew()
        if sandboxes is not None:
            world.guest = sandboxes
        yield world


# The environment of somebody without an account.
NOBODY = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
}


def environment(url: str, home: Path | None = None) -> dict[str, str]:
    """What a program needs in its environment to take this for AWS."""
    found = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "launcher",
        "AWS_SECRET_ACCESS_KEY": "loopback",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    return {**found, "MLBROKER_HOME": str(home)} if home else found
