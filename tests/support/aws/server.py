"""A strict AWS on loopback: moto behind what the real services insist on, on a virtual clock."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MOTO_ENABLE_AMI_VALIDATION", "true")
os.environ.setdefault("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.support.aws import account, recorded
from tests.support.aws.ec2 import ENABLED, Ec2
from tests.support.aws.faults import AwsFaults
from tests.support.aws.guests import AwsSandboxes, Metadata
from tests.support.aws.kills import Kills
from tests.support.aws.links import is_forged
from tests.support.aws.machines import OWN, USER, Vm
from tests.support.aws.request import Request
from tests.support.aws.rights import Rights, denied
from tests.support.loopback import Quiet
from tests.support.loopback_guests import Script
from tests.support.loopback_http import Answer, Environ
from tests.support.strict import StrictCloud, served

from mlbroker.broker.clouds.aws.guest import LINKS, LINKS_WITHIN_S, SECRETS, own_folder

ACCOUNT = "123456789012"


class _Moto(DomainDispatcherApplication):  # type: ignore[misc]
    """It looks for a host's service through all its folders at each request: here once."""

    get_backend_for_host = cache(DomainDispatcherApplication.get_backend_for_host)


class StrictAws(StrictCloud):
    """Its machines live in `ec2`."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.faults = AwsFaults()
        self.control = self.ec2 = Ec2(self.clock, self.faults, ACCOUNT, self.started, self.ended)
        self.kills = Kills(self.clock, self.faults, self.ec2, ACCOUNT)
        self.rights = Rights(ACCOUNT)
        self.metadata = Metadata(self.clock, ACCOUNT)
        self.ec2.console = lambda id_: self.guest.console(id_)  # type: ignore[method-assign]
        self.quotas: dict[str, float] = {}
        self._moto = _Moto(create_backend_app)

    def calm(self) -> None:
        super().calm()
        self.ec2.calm()
        self.quotas.clear()

    def renew(self, regions: tuple[str, ...] = ENABLED) -> None:
        """An account that is set up, and in which nothing ever ran."""
        account.reset()
        self.clock.forget()
        self.ec2.machines.forget()
        self.calm()
        self.set_up(regions)

    def set_up(self, regions: tuple[str, ...] = ENABLED) -> None:
        """What `mlbroker init` writes, applied."""
        account.set_up(self.url, regions)
        self.calls.clear()
        self.requests.clear()

    def sell_all(self) -> None:
        """All types that moto knows are there from the beginning."""

    def sell_out(self, what: str) -> None:
        self.ec2.capacity["*", what, "*"] = 0

    def machines(self) -> Iterable[Vm]:
        return list(self.ec2.machines.all.values())

    def stored(self) -> list[str]:
        return [str(key) for bucket in self._buckets().values() for key in bucket.keys]

    def _buckets(self) -> dict[str, Any]:
        from moto.s3.models import s3_backends

        found: dict[str, Any] = s3_backends[ACCOUNT]["aws"].buckets
        return found

    def secrets(self) -> list[str]:
        return [key for key in self.stored() if key.endswith(f"/{SECRETS}")]

    def ended_by(self, vm: Vm) -> list[str]:
        return [{OWN: "guest", USER: "launcher"}.get(vm.why, "vendor")]

    def get_object(self, vm: Vm, name: str) -> bytes | None:
        bucket = self._buckets().get(f"mlbroker-{ACCOUNT}-{vm.region}")
        if bucket is None:
            return None
        # What the machines of a run share lies in the run's folder: they have links to it.
        keys = (f"{self.folder(vm)}/{name}", f"runs/{vm.token}/{name}")
        return next((bytes(bucket.keys[key].value) for key in keys if key in bucket.keys), None)

    def put_object(self, vm: Vm, name: str, data: bytes) -> None:
        from moto.s3.models import s3_backends

        bucket = f"mlbroker-{ACCOUNT}-{vm.region}"
        with suppress(Exception):
            s3_backends[ACCOUNT]["aws"].put_object(bucket, f"{self.folder(vm)}/{name}", data)

    def folder(self, vm: Vm) -> str:
        """The machine's own."""
        return own_folder(ACCOUNT, vm.region, vm.id)

    def started(self, vm: Vm) -> None:
        """Played by a script it does nothing before it was told what, and goes when it is not."""
        if isinstance(self.guest, Script):
            self._await_links(vm, self.clock.now() + timedelta(seconds=LINKS_WITHIN_S))
        else:
            super().started(vm)

    def _await_links(self, vm: Vm, until: datetime) -> None:
        if vm.ends_at is not None:
            return
        if self.get_object(vm, LINKS) is not None:
            super().started(vm)
        elif self.clock.now() < until:
            self.clock.after(5.0, partial(self._await_links, vm, until))
        else:
            self.ec2.power_off(vm)

    def delete_itself(self, vm: Vm) -> None:
        """It shuts down: what follows was said at launch."""
        self.ec2.power_off(vm)

    def power_off(self, vm: Vm) -> None:
        self.ec2.power_off(vm)

    def read(self, environ: Environ) -> Request:
        return Request.read(environ)

    def prepare(self, request: Request) -> None:
        """The request tells by itself, and AWS lets nobody wait."""

    def log(self, request: Request) -> None:
        if request.service:
            self.calls.append((request.key, request.service, request.action))
            self.requests.append(request)

    def refused(self, request: Request) -> Answer | None:
        answer = denied(request) if is_forged(request) else self.rights.refused(request)
        if answer is not None:
            self.denied.append((request.key, f"{request.service}:{request.action}"))
        return answer

    def paid_as(self, request: Request) -> str | None:
        """S3: PUT, COPY, POST and LIST are of the first class, all others of the second.

        DELETE is free, and so is the POST that deletes many (aws.amazon.com/s3/pricing).
        """
        if request.service != "s3" or request.action == "DeleteObject":
            return None
        is_list = request.action.startswith("List")
        return "write" if is_list or request.method in ("PUT", "POST") else "read"

    def answer(self, request: Request) -> Answer:
        known = recorded.answer(request, self.quotas, self.bill)
        if known is not None:
            return known
        if request.service == "ec2":
            return self.ec2.answer(request, self._forward)
        if request.service == "scheduler":
            return self.kills.answer(request, self._forward)
        answer = self._forward(request)
        if answer.status.startswith("404") and not self.rights.sees_absence(request):
            return denied(request)
        return answer

    def _forward(self, request: Request) -> Answer:
        if self.faults.page is not None:
            request.in_pages_of(self.faults.page)
        return Answer.of(self._moto, request)

    def metadata_of(self, vm: Vm, what: str, request: Request) -> Answer:
        return self.metadata.answer(vm, what, request)

    def timer(self, vm: Vm, seconds: float) -> Answer:
        """Its only plan is to shut down."""
        self.clock.after(seconds, lambda: self.ec2.power_off(vm))
        return Answer("200 OK")


@contextmanager
def serving(
    *, frozen: bool = False, execute: bool = False, as_nobody: bool = False, port: int = 0
) -> Iterator[StrictAws]:
    """A running loopback cloud with mlbroker set up in its regions.

    With `execute`, machines run their user-data; else a script in virtual time stands for them.
    """
    world = StrictAws(frozen)
    sandboxes = AwsSandboxes(lambda: world.url, as_nobody) if execute else None
    with served(world, world.ec2.machines.living, Quiet, sandboxes, frozen=frozen, port=port):
        account.reset()
        world.set_up()
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
