"""The life of instances: pending, running, shutting down, gone; hidden at first, then forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from tests.support.loopback_clock import VirtualClock

BOOT_S = 20.0
SHUTDOWN_S = 15.0
REMEMBERED_S = 3600.0
USER = ("Client.UserInitiatedShutdown", "User initiated")
OWN = ("Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown")
RECLAIMED = ("Server.SpotInstanceTermination", "Server.SpotInstanceTermination")


@dataclass
class Vm:
    """One instance. It bills from its launch until it begins to shut down."""

    id: str
    region: str
    zone: str
    instance_type: str
    market: str
    token: str
    tags: dict[str, str]
    user_data: str
    index: int
    launched_at: datetime
    ends_at: datetime | None = None
    why: tuple[str, str] = USER
    notice_at: datetime | None = None
    behavior: str = "stop"
    bid_usd: float = inf
    # Surplus credits bought for each vCPU-hour at full use: what `unlimited` machines do.
    surplus_usd_per_hour: float = 0.0

    @property
    def gone_at(self) -> datetime | None:
        """It bills no more as soon as it ends."""
        return self.ends_at

    @property
    def works(self) -> bool:
        return self.ends_at is None

    def billed_s(self, now: datetime) -> int:
        """EC2 bills "in one-second increments", and tells launch and end in whole seconds."""
        return int(((self.ends_at or now) - self.launched_at).total_seconds())

    def state(self, now: datetime, boot_s: float, shutdown_s: float) -> tuple[str, int]:
        if self.ends_at is not None:
            if now < self.ends_at + timedelta(seconds=shutdown_s):
                return "shutting-down", 32
            return "terminated", 48
        if now < self.launched_at + timedelta(seconds=boot_s):
            return "pending", 0
        return "running", 16


class Machines:
    """All instances of the account, kept beside moto's own and imposed on them."""

    def __init__(self, clock: VirtualClock, account: str) -> None:
        self._clock = clock
        self._account = account
        self.all: dict[str, Vm] = {}
        self._hidden: dict[str, tuple[datetime, str, Any]] = {}
        self._settled: set[str] = set()
        self.hidden_s = 0.0
        self.boot_s = BOOT_S
        self.shutdown_s = SHUTDOWN_S

    def forget(self) -> None:
        """There never was a machine."""
        for kept in (self.all, self._hidden, self._settled):
            kept.clear()

    def living(self) -> Iterator[Vm]:
        return (vm for vm in self.all.values() if vm.ends_at is None)

    def by_tag(self, region: str, key: str, values: list[str]) -> list[Vm]:
        return [vm for vm in self.living() if vm.region == region and vm.tags.get(key) in values]

    def add(self, vm: Vm) -> None:
        self.all[vm.id] = vm
        if self.hidden_s:
            backend = self._backend(vm.region)
            for id_, reservation in list(backend.reservations.items()):
                if any(instance.id == vm.id for instance in reservation.instances):
                    until = self._clock.now() + timedelta(seconds=self.hidden_s)
                    self._hidden[id_] = (until, vm.region, backend.reservations.pop(id_))

    def end(self, vm: Vm, why: tuple[str, str]) -> None:
        """Begin its end; a second end changes nothing."""
        if vm.ends_at is None:
            vm.ends_at = self._clock.now()
            vm.why = why

    def is_hidden(self, id_: str) -> bool:
        return any(
            instance.id == id_
            for _, _, reservation in self._hidden.values()
            for instance in reservation.instances
        )

    def impose(self) -> None:
        """Make moto's records say what is true by now."""
        now = self._clock.now()
        for id_, (until, region, reservation) in list(self._hidden.items()):
            if now >= until:
                self._backend(region).reservations[id_] = reservation
                del self._hidden[id_]
        for region in {vm.region for vm in self.all.values()}:
            backend = self._backend(region)
            for id_, reservation in list(backend.reservations.items()):
                reservation.instances = [i for i in reservation.instances if self._show(i, now)]
                if not reservation.instances:
                    del backend.reservations[id_]

    def _show(self, instance: Any, now: datetime) -> bool:
        vm = self.all.get(instance.id)
        if vm is None or vm.id in self._settled:
            return vm is None or not self._forgotten(vm, now)
        name, code = vm.state(now, self.boot_s, self.shutdown_s)
        instance.launch_time = vm.launched_at.replace(tzinfo=None)
        if name == "terminated":
            instance.terminate()
            self._settled.add(vm.id)
        instance._state.name, instance._state.code = name, code
        if vm.ends_at is not None:
            instance._reason = f"{vm.why[1]} ({vm.ends_at:%Y-%m-%d %H:%M:%S} GMT)"
            instance.state_reason.code = vm.why[0]
            instance.state_reason.message = vm.why[1]
        return not self._forgotten(vm, now)

    def _forgotten(self, vm: Vm, now: datetime) -> bool:
        return vm.ends_at is not None and now > vm.ends_at + timedelta(seconds=REMEMBERED_S)

    def _backend(self, region: str) -> Any:
        from moto.ec2.models import ec2_backends

        return ec2_backends[self._account][region]
