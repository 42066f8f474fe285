"""The strict Google Cloud under the conformance suite: a new one for each test, one library."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.gcp.catalog import Kind
from tests.support.gcp.machines import Vm
from tests.support.gcp.vendor import VENDOR
from tests.support.strict_harness import StrictHarness

from mlbroker.broker.clouds.gcp.cloud import GcpCloud

_TYPE = "e2-standard-2"


class GcpHarness(StrictHarness):
    name = "gcp"
    region = "us-central1"
    kind = _TYPE
    make = VENDOR.make

    def stranger(self) -> str:
        kind = Kind(_TYPE, 2, 8192)
        body = {"labels": {"name": "database"}, "machineType": kind.name, "scheduling": {}}
        vm = Vm("7", "database", "us-central1-a", body, self.now(), kind.vcpus, self.now())
        self.world.gce.machines.all.append(vm)
        return "us-central1-a/database"

    def stranger_lives(self, machine_id: str) -> bool:
        zone, _, name = machine_id.partition("/")
        return self.world.gce.machines.named(zone, name) is not None

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self.world.gce.limits.capacity[_TYPE, "*", "*"] = 0
        else:
            self.world.gce.limits.quotas["CPUS", "*"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[GcpHarness]:
    with VENDOR.standing(folder / "google", frozen=True) as world:
        yield GcpHarness(world, GcpCloud)
