"""The life of instances on the virtual clock: made, running, stopping, stopped or gone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.loopback_clock import VirtualClock
from tests.support.terms import moving_usd

BOOT_S = 20.0
SHUTDOWN_S = 30.0


@dataclass
class Vm:
    """One instance. It bills from its creation until it stands still or is gone.

    Standing still it keeps its disk, which is why no test lets one stand.
    """

    id: str
    name: str
    zone: str
    body: dict[str, Any]
    created_at: datetime
    vcpus: int
    running_at: datetime | None = None
    ends_at: datetime | None = None
    gone_at: datetime | None = None
    stopped_at: datetime | None = None
    terminates_at: datetime | None = None
    notice_at: datetime | None = None
    why: str = "delete"

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.body.get("labels", {}))

    @property
    def token(self) -> str:
        return self.tags.get("mlbroker-token", "")

    @property
    def account(self) -> str:
        """Whom its token is of."""
        accounts = self.body.get("serviceAccounts") or [{}]
        return str(accounts[0].get("email"))

    @property
    def attached_tags(self) -> dict[str, str]:
        """Those that conditions look at, which are no labels."""
        return dict(self.body.get("params", self.body).get("resourceManagerTags", {}))

    @property
    def region(self) -> str:
        return self.zone.rpartition("-")[0]

    @property
    def market(self) -> str:
        model = self.body.get("scheduling", {}).get("provisioningModel")
        return "spot" if model == "SPOT" else "on_demand"

    @property
    def user_data(self) -> str:
        items = self.body.get("metadata", {}).get("items", [])
        return next((i["value"] for i in items if i["key"] == "startup-script"), "")

    @property
    def works(self) -> bool:
        return self.ends_at is None and self.stopped_at is None

    @property
    def path(self) -> str:
        return f"zones/{self.zone}/instances/{self.name}"

    def billed_s(self, now: datetime) -> float:
        return ((self.stopped_at or self.gone_at or now) - self.created_at).total_seconds()

    def status(self, now: datetime) -> str:
        if self.stopped_at is not None and self.ends_at is None:
            return "TERMINATED"
        if self.ends_at is not None:
            return "STOPPING"
        if self.running_at is None:
            return "STAGING" if now > self.created_at + timedelta(seconds=5) else "PROVISIONING"
        return "RUNNING"


@dataclass
class Operation:
    """Something under way in a zone. `error` is told only when it is done."""

    name: str
    zone: str
    kind: str
    target: str
    target_id: str
    begun_at: datetime
    done_at: datetime | None = None
    error: tuple[str, str] | None = None
    user: str = "launcher"
    # The service account, where it was a machine that asked.
    account: str = ""
    labels: dict[str, str] = field(default_factory=dict)


class Machines:
    """All instances there ever were, and all operations."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.all: list[Vm] = []
        self.operations: dict[str, Operation] = {}
        # What spot machines cost, and from when: nobody's bid ends them.
        self.spot_prices: list[tuple[datetime, float]] = []
        self.boot_s = BOOT_S
        self.shutdown_s = SHUTDOWN_S
        self.hidden_s = 0.0

    def living(self) -> Iterator[Vm]:
        return (vm for vm in self.all if vm.gone_at is None)

    def visible(self, zone: str | None = None) -> list[Vm]:
        """What can be listed: not those gone, nor those so new that they do not show yet."""
        shown_before = self._clock.now() - timedelta(seconds=self.hidden_s)
        return [
            vm
            for vm in self.living()
            if zone in (None, vm.zone) and (not self.hidden_s or vm.created_at <= shown_before)
        ]

    def named(self, zone: str, name: str) -> Vm | None:
        return next((vm for vm in self.living() if (vm.zone, vm.name) == (zone, name)), None)

    def listed_operations(self) -> Iterator[Operation]:
        """Those under way, and those done for less than an hour: no more is promised."""
        kept_since = self._clock.now() - timedelta(hours=1)
        return (o for o in self.operations.values() if not o.done_at or o.done_at >= kept_since)

    def begin(self, zone: str, kind: str, vm_path: str, vm_id: str) -> Operation:
        name = f"operation-{len(self.operations) + 1}"
        operation = Operation(name, zone, kind, vm_path, vm_id, self._clock.now())
        self.operations[name] = operation
        return operation

    def billed_usd(self, vms: list[Vm], price_per_hour_usd: float) -> float:
        """What these machines have come to: by the second, a minute at least."""
        now = self._clock.now()
        return sum(
            moving_usd(
                vm.created_at,
                max(60.0, vm.billed_s(now)),
                price_per_hour_usd,
                self.spot_prices if vm.market == "spot" else (),
            )
            for vm in vms
        )


def stamp(moment: datetime) -> str:
    """A time as Google writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
