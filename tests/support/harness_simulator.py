"""The simulator under the conformance suite."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.support.simulator import Service, SimCloud, SimMachine

from mlbroker.broker.clouds.interface import Cloud, Payload


class SimulatorHarness:
    name = "simulator"
    region = "us-east-1"

    def __init__(self, folder: Path) -> None:
        self.spared: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._service = Service(folder / "service.pickle")
        self.cloud: Cloud = SimCloud(self._service)

    def now(self) -> datetime:
        return self._service.now()

    def wait(self, seconds: float) -> None:
        self._service.sleep(seconds)

    def reopened(self) -> Cloud:
        return SimCloud(self._service)

    def type_name(self) -> str:
        return "small"

    def payload(self, seconds: float, code: int = 0) -> Payload:
        with self._service.world() as world:
            world.job_s, world.job_code = seconds, code
        return Payload({"command": "true"})

    def stranger(self) -> str:
        with self._service.world() as world:
            tags = {"Name": "database"}
            world.machines.append(SimMachine("x1", "x1", tags, world.now, 1e9, 0))
        return "x1"

    def stranger_lives(self, machine_id: str) -> bool:
        with self._service.world() as world:
            return any(m.id == machine_id and m.ended_at is None for m in world.machines)

    def lose_answers(self, call: str, times: int) -> None:
        with self._service.world() as world:
            world.lost_after[call] = times

    def lose_requests(self, call: str, times: int) -> None:
        with self._service.world() as world:
            world.lost_before[call] = times

    def hide_new_machines(self, seconds: float) -> None:
        with self._service.world() as world:
            world.hidden_s = seconds

    def fail_deletes(self, times: int) -> None:
        with self._service.world() as world:
            world.failing_deletes = times

    def run_out_of(self, what: str) -> None:
        with self._service.world() as world:
            out = world.no_capacity if what == "capacity" else world.no_quota
            out.add(self.type_name())


@contextmanager
def open_harness(folder: Path) -> Iterator[SimulatorHarness]:
    yield SimulatorHarness(folder)
