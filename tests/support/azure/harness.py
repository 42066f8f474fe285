"""The strict Azure under the conformance suite: a new one for each test, one library."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.azure.machines import Group, Vm
from tests.support.azure.vendor import VENDOR
from tests.support.strict_harness import StrictHarness

from mlbroker.broker.clouds.azure.cloud import AzureCloud

_TYPE = "Standard_D2s_v5"


class AzureHarness(StrictHarness):
    name = "azure"
    region = "eastus"
    kind = _TYPE
    make = VENDOR.make

    def stranger(self) -> str:
        machines = self.world.arm.machines
        machines.groups["database"] = Group("database", "eastus", {})
        body = {
            "location": "eastus",
            "tags": {"name": "database"},
            "properties": {"hardwareProfile": {"vmSize": _TYPE}, "osProfile": {}},
        }
        vm = Vm("7", "database", "database", body, self.now(), 2, "Succeeded", self.now())
        machines.all.append(vm)
        return "database"

    def stranger_lives(self, machine_id: str) -> bool:
        return self.world.arm.machines.named(machine_id, machine_id) is not None

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self.world.arm.limits.capacity[_TYPE, "*", "*"] = 0
        else:
            self.world.arm.limits.quotas["cores", "*"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[AzureHarness]:
    with VENDOR.standing(folder, frozen=True) as world:
        yield AzureHarness(world, AzureCloud)
