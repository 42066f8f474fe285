"""The strict Azure under the conformance suite: a new one for each test, one library."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from tests.support.aws.guests import Script
from tests.support.azure.machines import Group, Vm
from tests.support.azure.server import StrictAzure, environment, serving

from mlbroker.broker.clouds.azure import AzureCloud
from mlbroker.broker.clouds.seam import Cloud, Payload

_CALLS = {"create": "Microsoft.Compute/virtualMachines/write"}
_TYPE = "Standard_D2s_v5"


class AzureHarness:
    def __init__(self, world: StrictAzure) -> None:
        self.spared: dict[str, str] = {}
        self._world = world
        self.cloud: Cloud = AzureCloud()

    def now(self) -> datetime:
        return self._world.clock.now()

    def wait(self, seconds: float) -> None:
        self._world.clock.advance(seconds)

    def reopened(self) -> Cloud:
        return AzureCloud()

    def type_name(self) -> str:
        return _TYPE

    def payload(self, seconds: float, code: int = 0) -> Payload:
        assert isinstance(self._world.guest, Script)
        self._world.guest.job_s, self._world.guest.code = seconds, code
        return Payload({"command": "true"})

    def stranger(self) -> str:
        estate = self._world.arm.estate
        estate.groups["database"] = Group("database", "eastus", {})
        body = {
            "location": "eastus",
            "tags": {"name": "database"},
            "properties": {"hardwareProfile": {"vmSize": _TYPE}, "osProfile": {}},
        }
        vm = Vm("7", "database", "database", body, self.now(), 2, "Succeeded", self.now())
        estate.vms.append(vm)
        return "database"

    def stranger_lives(self, machine_id: str) -> bool:
        return self._world.arm.estate.named(machine_id, machine_id) is not None

    def lose_answers(self, call: str, times: int) -> None:
        self._world.faults.lost_after[_CALLS[call]] = times

    def lose_requests(self, call: str, times: int) -> None:
        self._world.faults.lost_before[_CALLS[call]] = times

    def hide_new_machines(self, seconds: float) -> None:
        self._world.arm.estate.hidden_s = seconds

    def fail_deletes(self, times: int) -> None:
        self._world.faults.late_deletes = times

    def run_out_of(self, what: str) -> None:
        if what == "capacity":
            self._world.arm.limits.capacity[_TYPE, "*", "*"] = 0
        else:
            self._world.arm.limits.quotas["cores", "*"] = 0


@contextmanager
def open_harness(folder: Path) -> Iterator[AzureHarness]:
    with pytest.MonkeyPatch.context() as patch, serving(frozen=True) as world:
        for name, value in environment(world.url).items():
            patch.setenv(name, value)
        yield AzureHarness(world)
