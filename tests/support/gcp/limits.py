"""What there is too little of: machines in a zone, and what the project may have of them."""

from collections.abc import Sequence
from typing import Any

from tests.support.gcp.machines import Machines
from tests.support.gcp.wishes import Refusal, Wish


class Limits:
    """Absent is plenty. `capacity`: (type or *, zone or *, market or *) -> how many are left.

    `quotas`: (metric, region or *) -> the limit. `at_once` says how a quota is refused: with the
    request itself, or by the operation that it began.
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

    def refused_at_once(self, zone: str, wishes: Sequence[Wish]) -> Refusal | None:
        beyond = self._beyond_quota(zone, wishes) if self.at_once else None
        return (403, "quotaExceeded", beyond) if beyond else None

    def refused_later(self, zone: str, wishes: Sequence[Wish]) -> tuple[str, str] | None:
        beyond = self._beyond_quota(zone, wishes)
        if beyond:
            return "QUOTA_EXCEEDED", beyond
        market = "spot" if wishes[0].is_spot else "on_demand"
        name = wishes[0].kind.name
        keys = [(t, z, m) for t in (name, "*") for z in (zone, "*") for m in (market, "*")]
        for key in keys:
            if key not in self.capacity:
                continue
            if self.capacity[key] < len(wishes):
                return (
                    "ZONE_RESOURCE_POOL_EXHAUSTED",
                    f"The zone '{zone}' does not have enough resources available to fulfill the "
                    "request. Try a different zone, or try again later.",
                )
            self.capacity[key] -= len(wishes)
            break
        return None

    def quotas_of(self, region: str) -> list[dict[str, Any]]:
        used = {"CPUS": 0.0, "PREEMPTIBLE_CPUS": 0.0}
        for vm in self._machines.living():
            if vm.region == region:
                used["PREEMPTIBLE_CPUS" if vm.market == "spot" else "CPUS"] += vm.vcpus
        metrics = {metric for metric, where in self.quotas if where in (region, "*")}
        return [
            {
                "metric": metric,
                "limit": float(self._limit(metric, region, 500)),
                "usage": used.get(metric, 0.0),
            }
            for metric in sorted({*metrics, *used, "NVIDIA_T4_GPUS", "NVIDIA_L4_GPUS"})
        ]

    def quotas_of_project(self) -> list[dict[str, Any]]:
        limit = float(self._limit("GPUS_ALL_REGIONS", "*", 8))
        return [{"metric": "GPUS_ALL_REGIONS", "limit": limit, "usage": 0.0}]

    def _limit(self, metric: str, region: str, plenty: int) -> int:
        return self.quotas.get((metric, region), self.quotas.get((metric, "*"), plenty))

    def _beyond_quota(self, zone: str, wishes: Sequence[Wish]) -> str | None:
        region = zone.rpartition("-")[0]
        used = {entry["metric"]: entry["usage"] for entry in self.quotas_of(region)}
        for metric, wanted in _needs(wishes).items():
            limit = self._limit(metric, region, 1 << 30)
            if used.get(metric, 0.0) + wanted > limit:
                where = "globally" if metric == "GPUS_ALL_REGIONS" else f"in region {region}"
                return f"Quota '{metric}' exceeded.  Limit: {limit}.0 {where}."
        return None


def _needs(wishes: Sequence[Wish]) -> dict[str, int]:
    needs: dict[str, int] = {}
    for wish in wishes:
        prefix = "PREEMPTIBLE_" if wish.is_spot else ""
        needs[prefix + "CPUS"] = needs.get(prefix + "CPUS", 0) + wish.kind.vcpus
        for gpu, count in wish.gpus.items():
            short = gpu.upper().replace("NVIDIA-TESLA-", "").replace("NVIDIA-", "")
            for metric in (f"{prefix}NVIDIA_{short}_GPUS", "GPUS_ALL_REGIONS"):
                needs[metric] = needs.get(metric, 0) + count
    return needs
