"""A strict cloud under the conformance suite; what only its vendor knows is in the subclasses."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from tests.support.loopback_guests import Script
from tests.support.strict import StrictCloud

from mlbroker.broker.clouds.interface import Cloud, Payload


class StrictHarness(ABC):
    """`reopened` opens the cloud as another process does; `make` asks for a machine of a `kind`."""

    name: str
    region: str
    kind: ClassVar[str]
    make: ClassVar[str]

    def __init__(self, world: Any, reopened: Callable[[], Cloud]) -> None:
        self.spared: dict[str, str] = {}
        self.world = world
        self.reopened = reopened
        self.cloud = reopened()

    def now(self) -> datetime:
        moment: datetime = self.world.clock.now()
        return moment

    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def type_name(self) -> str:
        return self.kind

    def payload(self, seconds: float, code: int = 0) -> Payload:
        assert isinstance(self.world, StrictCloud)
        assert isinstance(self.world.guest, Script)
        self.world.guest.job_s, self.world.guest.code = seconds, code
        return Payload({"command": "true"})

    @abstractmethod
    def stranger(self) -> str: ...

    @abstractmethod
    def stranger_lives(self, machine_id: str) -> bool: ...

    def lose_answers(self, call: str, times: int) -> None:
        self.world.faults.lost_after[{"create": self.make}[call]] = times

    def lose_requests(self, call: str, times: int) -> None:
        self.world.faults.lost_before[{"create": self.make}[call]] = times

    def hide_new_machines(self, seconds: float) -> None:
        self.world.control.machines.hidden_s = seconds

    def fail_deletes(self, times: int) -> None:
        self.world.faults.late_deletes = times

    @abstractmethod
    def run_out_of(self, what: str) -> None: ...
