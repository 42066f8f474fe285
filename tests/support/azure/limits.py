"""What there is too little of: machines in a region, and what the subscription may have of them."""

from typing import Any

from tests.support.azure.catalog import SIZES, Size
from tests.support.azure.machines import Machines

PLENTY = 1 << 30


class Limits:
    """Absent is plenty. `capacity`: (size or *, region or *, market or *) -> how many are left.

    `quotas`: (name of the usage, region or *) -> the limit. `at_once` says how a shortage is told:
    with the request itself, or by the operation that it began.
    """

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self.capacity: dict[tuple[str, str, str], int] = {}
        self.quotas: dict[tuple[str, str], int] = {}
        self.at_once = False

    def clear(self) -> None:
        self.capacity.clear()
        self.quotas.clear()
        self.at_once = False

    def beyond_quota(self, size: Size, region: str, market: str) -> tuple[str, str] | None:
        name = "lowPriorityCores" if market == "spot" else "cores"
        limit = self.quotas.get((name, region), self.quotas.get((name, "*"), PLENTY))
        used = self._used(region).get(name, 0)
        if used + size.vcpus <= limit:
            return None
        words = "LowPriorityCores" if market == "spot" else "Total Regional Cores"
        return (
            "OperationNotAllowed",
            f"Operation could not be completed as it results in exceeding approved {words} quota. "
            f"Additional details - Location: {region}, Current Limit: {limit}, Current Usage: "
            f"{used}, Additional Required: {size.vcpus}.",
        )

    def too_dear(self, body: dict[str, Any]) -> tuple[int, str, str] | None:
        """Whether a spot machine may cost less than it does now; without a limit, never."""
        most = (body["properties"].get("billingProfile") or {}).get("maxPrice", -1)
        now = self._machines.spot_prices[-1][1] if self._machines.spot_prices else 0.0
        if most < 0 or most >= now:
            return None
        return (
            409,
            "OperationNotAllowed",
            f"Unable to perform operation 'Create VM' since the provided max price '{most} USD' is "
            f"lower than the current spot price '{now} USD' for Azure Spot VM size. "
            "For more information, see http://aka.ms/AzureSpot/errormessages.",
        )

    def out_of_capacity(self, size: Size, region: str, market: str) -> tuple[str, str] | None:
        keys = [(s, r, m) for s in (size.name, "*") for r in (region, "*") for m in (market, "*")]
        for key in keys:
            if key not in self.capacity:
                continue
            if self.capacity[key] < 1:
                return (
                    "AllocationFailed",
                    "Allocation failed. We do not have sufficient capacity for the requested VM "
                    "size in this region.",
                )
            self.capacity[key] -= 1
            break
        return None

    def usages(self, region: str) -> list[dict[str, Any]]:
        """`Microsoft.Compute/locations/usages`."""
        return [
            {
                "name": {"value": name, "localizedValue": name},
                "unit": "Count",
                "currentValue": self._used(region).get(name, 0),
                "limit": self.quotas.get((name, region), self.quotas.get((name, "*"), 100)),
            }
            for name in ("cores", "lowPriorityCores")
        ]

    def _used(self, region: str) -> dict[str, int]:
        used = {"cores": 0, "lowPriorityCores": 0}
        for vm in self._machines.living():
            if vm.region == region and not vm.is_failed:
                name = "lowPriorityCores" if vm.market == "spot" else "cores"
                used[name] += SIZES[vm.body["properties"]["hardwareProfile"]["vmSize"]].vcpus
        return used
