"""GCP's billing catalogue: what a core, a GiB, a GPU and a local disk cost, and where.

The descriptions are those that public readers of the catalogue match; what comes of them is tested
against machine prices of another source.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, bool]  # region, spot
HOURS_PER_MONTH = 730

_PART = re.compile(
    r"(?:Spot Preemptible )?"
    r"(?:(?P<family>[A-Z][0-9]+[A-Za-z0-9]*)"
    r"(?: Predefined| Memory-optimized| AMD| Arm| Intel)* Instance"
    r"|(?P<named>Compute optimized|Memory-optimized)(?: Instance)?"
    r"|(?P<premium>Memory Optimized Upgrade Premium) for Memory-optimized Instance)"
    r" (?P<part>Core|Ram) running in "
)
# Families whose parts do not carry their name; M2 costs what M1 does and this much more.
_NAMES = {
    "Compute optimized": "c2",
    "Memory-optimized": "m1",
    "Memory Optimized Upgrade Premium": "m2",
}
_WHOLE = re.compile(
    r"(?:Spot Preemptible )?"
    r"(?P<name>Micro Instance with burstable CPU|Small Instance with 1 VCPU) running in "
)
_MACHINES = {
    "Micro Instance with burstable CPU": "f1-micro",
    "Small Instance with 1 VCPU": "g1-small",
}
_ACCELERATORS = {
    "T4": "nvidia-tesla-t4",
    "V100": "nvidia-tesla-v100",
    "P100": "nvidia-tesla-p100",
    "P4": "nvidia-tesla-p4",
    "A100": "nvidia-tesla-a100",
    "A100 80GB": "nvidia-a100-80gb",
    "L4": "nvidia-l4",
    "H100 80GB": "nvidia-h100-80gb",
    "H100 80GB Mega": "nvidia-h100-mega-80gb",
    "H100 80GB Plus": "nvidia-h100-mega-80gb",
    "H200 141GB": "nvidia-h200-141gb",
    "RTX 6000 96GB": "nvidia-rtx-pro-6000",
    "A4 Nvidia B200 (1 gpu slice)": "nvidia-b200",
}
_GPU = re.compile(
    r"(?:Spot Preemptible )?(?:Nvidia )?(?:Tesla )?"
    rf"(?P<model>{'|'.join(map(re.escape, _ACCELERATORS))})(?: GPU)?"
    r"(?: attached to Spot Preemptible VMs)? running in "
)
_DISK = re.compile(
    r"(?:(?:Spot Preemptible )?(?P<family>[A-Z][0-9]+[A-Z]*) Instance Local SSD"
    r"|SSD backed Local Storage(?: attached to Spot Preemptible VMs)?)"
    r"(?: (?:running )?in .+)?$"
)
_USES = ("OnDemand", "Preemptible")


@dataclass(slots=True)
class UnitPrices:
    """Billionths of a dollar an hour: for a core and a GiB of a family, a GPU, a GiB of a family's
    disk ("" is any other family's), and for the machines that are sold as a whole.
    """

    cores: dict[tuple[str, Place], int] = field(default_factory=dict)
    memory: dict[tuple[str, Place], int] = field(default_factory=dict)
    gpus: dict[tuple[str, Place], int] = field(default_factory=dict)
    disk: dict[tuple[str, Place], float] = field(default_factory=dict)
    machines: dict[tuple[str, Place], int] = field(default_factory=dict)
    dishonest: int = 0

    def disk_of(self, family: str, place: Place) -> float | None:
        """A GiB of local disk of this family's machines."""
        return self.disk.get((family, place), self.disk.get(("", place)))

    def table(self, text: str, unit: str) -> tuple[dict[tuple[str, Place], Any], str] | None:
        """Where a SKU with this description, priced by this unit, belongs; None where nowhere."""
        if part := _PART.match(text):
            if unit != ("h" if part["part"] == "Core" else "GiBy.h"):
                return None
            named = part["named"] or part["premium"]
            family = _NAMES[named] if named else part["family"].lower()
            return (self.cores if part["part"] == "Core" else self.memory), family
        if unit == "h" and (whole := _WHOLE.match(text)):
            return self.machines, _MACHINES[whole["name"]]
        if unit == "h" and (gpu := _GPU.match(text)):
            return self.gpus, _ACCELERATORS[gpu["model"]]
        if unit == "GiBy.mo" and (disk := _DISK.match(text)):
            return self.disk, (disk["family"] or "").lower()
        return None


def read_skus(skus: Iterable[Mapping[str, Any]]) -> UnitPrices:
    """The unit prices among the catalogue's SKUs; commitments and sole tenancy are passed over.

    Where two SKUs price the same thing, the dearer counts: neither is ever too cheap an offer.
    """
    prices = UnitPrices()
    for sku in skus:
        text, use = sku["description"], sku["category"]["usageType"]
        if use not in _USES:
            continue
        unit, price = _hourly_nano(sku)
        found = prices.table(text, unit)
        if found is None:
            continue
        if price <= 0:
            prices.dishonest += 1
            continue
        table, name = found
        # The catalogue files some spot prices, those of local disks among them, under OnDemand.
        spot = use == "Preemptible" or "Spot Preemptible" in text
        for region in sku["serviceRegions"]:
            key = (name, (region, spot))
            table[key] = max(price, table.get(key, 0))
    return prices


def _hourly_nano(sku: Mapping[str, Any]) -> tuple[str, float]:
    """The unit and the first tier's price; the newest price where the catalogue lists several."""
    info = max(sku["pricingInfo"], key=lambda entry: entry.get("effectiveTime", ""))
    expression = info["pricingExpression"]
    rate = expression["tieredRates"][0]["unitPrice"]
    if rate.get("currencyCode", "USD") != "USD":
        return expression["usageUnit"], 0
    nano = int(rate.get("units", 0)) * 10**9 + int(rate.get("nanos", 0))
    unit = expression["usageUnit"]
    return unit, nano / HOURS_PER_MONTH if unit.endswith(".mo") else nano
