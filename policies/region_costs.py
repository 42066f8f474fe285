"""What a region adds to a machine's price: disk, address, requests, traffic, and carbon."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.constraints import Constraints
from mlbroker.policies.quoting import traffic_usd
from mlbroker.pricing import billing
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import ResourceOption


class RegionCosts(NamedTuple):
    """What a region adds to a machine's price.

    `usd_per_hour` for each machine and hour (disk, address, the bucket's requests), `fixed_usd`
    once per run (traffic, and the requests of its beginning and end); where disks bill in begun
    steps of `disk_step_s`, a step of all machines costs `disk_usd_per_step`; `kg_per_kwh` is grid
    intensity times PUE.
    """

    usd_per_hour: float
    fixed_usd: float
    kg_per_kwh: float | None
    disk_usd_per_step: float = 0.0
    disk_step_s: float = 1.0
    cloud: str = ""
    region: str = ""

    def once_usd(self, seconds: float) -> float:
        """What is due beside the hours: what is due once, and rounding the disk's time up."""
        if not self.disk_usd_per_step:
            return self.fixed_usd
        steps = seconds / self.disk_step_s
        return self.fixed_usd + (math.ceil(steps) - steps) * self.disk_usd_per_step

    def affordable_s(self, budget_usd: float, usd_per_s: float) -> float:
        """The longest run within a budget, at `usd_per_s` (all of `usd_per_hour` included)."""
        left_usd = budget_usd - self.fixed_usd
        if not self.disk_usd_per_step:
            return left_usd / usd_per_s
        step_usd = usd_per_s * self.disk_step_s
        steps = left_usd // step_usd
        # Of a step more, the disk is paid in full.
        beyond_usd = left_usd - steps * step_usd - self.disk_usd_per_step
        if beyond_usd <= 0:
            return steps * self.disk_step_s
        machines_usd = step_usd - self.disk_usd_per_step
        return (steps + beyond_usd / machines_usd) * self.disk_step_s


def region_costs(
    constraints: Constraints, regions: dict[int, Region], options: Sequence[ResourceOption]
) -> list[list[RegionCosts | None]]:
    """For each option, what each region adds to the price of a machine."""
    size = max(regions, default=-1) + 1
    by_disk: dict[int, list[RegionCosts | None]] = {}
    for disk_gb in {option.disk_gb for option in options}:
        row = by_disk[disk_gb] = [None] * size
        for number, region in regions.items():
            row[number] = _costs_in(constraints, region, disk_gb)
    return [by_disk[option.disk_gb] for option in options]


def _costs_in(constraints: Constraints, region: Region, disk_gb: int) -> RegionCosts:
    traffic = traffic_usd(constraints, region)
    bill = billing.Bill.of(region, Decimal(0), constraints.nodes, disk_gb, traffic)
    step_s = bill.meter.disk_step_s
    grid, pue = region.grid_kgco2e_per_kwh, region.pue
    return RegionCosts(
        usd_per_hour=float(bill.usd_per_hour / bill.nodes),
        fixed_usd=float(bill.once_usd + bill.requests_once_usd * bill.nodes),
        kg_per_kwh=None if grid is None or pue is None else grid * pue,
        disk_usd_per_step=(
            float(bill.disk_usd_per_hour * step_s / billing.SECONDS_PER_HOUR * constraints.nodes)
            if step_s > 1
            else 0.0
        ),
        disk_step_s=float(step_s),
        cloud=region.cloud,
        region=region.name,
    )


def least_by_cloud(places: Sequence[RegionCosts | None]) -> dict[str, RegionCosts]:
    """For each cloud an imaginary region of it that is best in everything."""
    by_cloud: dict[str, list[RegionCosts]] = {}
    for place in places:
        if place is not None:
            by_cloud.setdefault(place.cloud, []).append(place)
    return {cloud: _least(known) for cloud, known in by_cloud.items()}


def _least(known: Sequence[RegionCosts]) -> RegionCosts:
    return RegionCosts(
        min((place.usd_per_hour for place in known), default=0.0),
        min((place.fixed_usd for place in known), default=0.0),
        min((p.kg_per_kwh for p in known if p.kg_per_kwh is not None), default=None),
    )
