"""The life of resource groups and of the machines in them, on the virtual clock."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.terms import moving_usd

BOOT_S = 20.0
SHUTDOWN_S = 60.0


@dataclass
class Vm:
    """One machine. It bills from its creation until it is gone, stopped or not."""

    id: str
    name: str
    group: str
    body: dict[str, Any]
    created_at: datetime
    vcpus: int
    state: str = "Creating"
    running_at: datetime | None = None
    ends_at: datetime | None = None
    gone_at: datetime | None = None
    stopped_at: datetime | None = None
    notice_at: datetime | None = None

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.body.get("tags", {}))

    @property
    def token(self) -> str:
        return self.tags.get("mlbroker-token", "")

    @property
    def identity(self) -> str:
        """Whose tokens it is given."""
        given = (self.body.get("identity") or {}).get("userAssignedIdentities", {})
        return next(iter(given), "")

    @property
    def region(self) -> str:
        return str(self.body["location"])

    @property
    def market(self) -> str:
        is_spot = self.body["properties"].get("priority") == "Spot"
        return "spot" if is_spot else "on_demand"

    @property
    def user_data(self) -> str:
        data = self.body["properties"]["osProfile"].get("customData", "")
        return base64.b64decode(data).decode()

    @property
    def works(self) -> bool:
        return self.ends_at is None and self.stopped_at is None

    @property
    def is_failed(self) -> bool:
        return self.state == "Failed"

    def billed_s(self, now: datetime) -> float:
        return 0.0 if self.is_failed else ((self.gone_at or now) - self.created_at).total_seconds()


@dataclass
class Group:
    """A resource group of an attempt, or of anybody."""

    name: str
    location: str
    tags: dict[str, str]
    state: str = "Succeeded"
    gone: bool = False
    # By whom its end was asked for first.
    ender: str = ""


@dataclass
class Operation:
    """Something under way. `error` is told only when it is done."""

    id: str
    region: str
    done_at: datetime | None = None
    error: tuple[str, str] | None = None


@dataclass
class Event:
    """One line of the activity log."""

    operation: str
    resource: str
    group: str
    at: datetime
    status: str = "Succeeded"
    caller: str = "you@example.com"

    @property
    def document(self) -> dict[str, Any]:
        return {
            "operationName": {"value": self.operation},
            "status": {"value": self.status},
            "eventTimestamp": stamp(self.at),
            "resourceId": self.resource,
            "caller": self.caller,
            "resourceGroupName": self.group,
        }


@dataclass
class Machines:
    """All that there is, and was, in the subscription."""

    groups: dict[str, Group] = field(default_factory=dict)
    all: list[Vm] = field(default_factory=list)
    operations: dict[str, Operation] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    # Interfaces and addresses of machines, by their path in small letters.
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What an hour of a spot machine costs, from when on; before the first, whatever is reckoned.
    spot_prices: list[tuple[datetime, float]] = field(default_factory=list)
    hidden_s: float = 0.0
    boot_s: float = BOOT_S
    shutdown_s: float = SHUTDOWN_S

    def group(self, name: str) -> Group | None:
        found = self.groups.get(name.lower())
        return None if found is None or found.gone else found

    def living(self, group: str | None = None) -> list[Vm]:
        return [
            vm
            for vm in self.all
            if vm.gone_at is None and (group is None or vm.group.lower() == group.lower())
        ]

    def visible(self, now: datetime, group: str | None = None) -> list[Vm]:
        """What can be read: not those so new that they do not show yet."""
        shown_before = now - timedelta(seconds=self.hidden_s)
        return [
            vm for vm in self.living(group) if not self.hidden_s or vm.created_at <= shown_before
        ]

    def named(self, group: str, name: str) -> Vm | None:
        return next((vm for vm in self.living(group) if vm.name == name), None)

    def billed_usd(self, vms: list[Vm], now: datetime, price_per_hour_usd: float) -> float:
        """What these machines have come to: by the second, a minute at least."""
        return sum(self._usd(vm, now, price_per_hour_usd) for vm in vms if not vm.is_failed)

    def _usd(self, vm: Vm, now: datetime, price_per_hour_usd: float) -> float:
        """A spot machine costs at each moment what it costs then."""
        changes = self.spot_prices if vm.market == "spot" else []
        bid = (vm.body["properties"].get("billingProfile") or {}).get("maxPrice", -1)
        # A bid holds while the machine that would cost more is evicted.
        changes = [(at, min(price, bid) if bid > 0 else price) for at, price in changes]
        seconds = max(60.0, vm.billed_s(now))
        return moving_usd(vm.created_at, seconds, price_per_hour_usd, changes)


def stamp(moment: datetime) -> str:
    """A time as Azure writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
