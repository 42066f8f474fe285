"""The strict Google Cloud under the conformance suite: a new one for each test, one library."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from tests.support.aws.guests import Script
from tests.support.gcp.catalog import Kind
from tests.support.gcp.machines import Vm
from tests.support.gcp.server import StrictGcp, environment, serving

from mlbroker.broker.clouds.gcp import GcpCloud
from mlbroker.broker.clouds.seam import Cloud, Payload

_CALLS = {"create": "compute.instances.insert"}
_TYPE = "e2-standard-2"


class GcpHarness:
    def __init__(self, world: StrictGcp) -> None:
        self.spared: dict[str, str] = {}
        self._world = world
        self.cloud: Cloud = GcpCloud()

    def now(self) -> datetime:
        return self._world.clock.now()

    def wait(self, seconds: float) -> None:
        self._world.clock.advance(seconds)

    def reopened(self) -> Cloud:
        return GcpCloud()

    def type_name(self) -> str:
        return _TYPE

    def payload(self, seconds: float, code: int = 0) -> Payload:
        assert isinstance(self._world.guest, Script)
        self._world.guest.job_s, self._world.guest.code = seconds, code
        return Payload({"command": "true"})

    def stranger(self) -> str:
        kind = Kind(_TYPE, 2, 8192)
        body = {"labels": {"name": "database"}, "machineType": kind.name, "scheduling": {}}
        vm = Vm("7", "database", "us-central1-a", body, self.now(), kind.vcpus, self.now())
        self._world.gce.machines.all.append(vm)
        return "us-central1-a/database"

    def stranger_lives(self, machine_id: str) -> bool:
        zone, _, name = machine_id.partition("/")
        return self._world.gce.machines.named(zone, name) is not None

    def lose_answers(self, call: str, times: int) -> None:
        self._world.faults.lost_after[_CALLS[call]] = times

    def lose_requests(self, call: str, times: int) -> None:
        self._world.faults.lost_before[_CALLS[call]] = times

    def hide_new_machines(self, seconds: float) -> None:
        self._world.gce.machines.hidden_s = seconds

    def fail_deletes(self, times: int) -> None:
        self._world.faults.late_deletes = times

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self._world.gce.limits.capacity[_TYPE, "*", "*"] = 0
        else:
            self._world.gce.limits.quotas["CPUS", "*"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[GcpHarness]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url, folder / "google").items():
            patch.setenv(name, value)
        yield GcpHarness(world)
