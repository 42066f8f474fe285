"""GCP's billing catalogue: what a core, a GiB, a GPU and a local disk cost, and where."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, bool]  # region, spot
HOURS_PER_MONTH = 730

_PART = re.compile(
    r"(?:Spot Preemptible )?(?P<family>[A-Z][0-9]+[A-Z]*)"
    r"(?: Predefined| Memory-optimized| AMD| Arm| Intel)* Instance (?P<part>Core|Ram) running in "
)
# C2 is the one family whose parts do not carry its name.
_C2 = re.compile(r"(?:Spot Preemptible )?Compute optimized (?P<part>Core|Ram) running in ")
_GPU = re.compile(
    r"Nvidia (?:Tesla )?(?P<model>[A-Z0-9]+(?: 80GB)?) GPU"
    r"(?: attached to Spot Preemptible VMs)? running in "
)
_DISK = re.compile(r"SSD backed Local Storage(?: attached to Spot Preemptible VMs)?(?: in .+)?$")
_ACCELERATORS = {
    "T4": "nvidia-tesla-t4",
    "V100": "nvidia-tesla-v100",
    "P100": "nvidia-tesla-p100",
    "P4": "nvidia-tesla-p4",
    "A100": "nvidia-tesla-a100",
    "A100 80GB": "nvidia-a100-80gb",
    "L4": "nvidia-l4",
    "H100 80GB": "nvidia-h100-80gb",
}
_MARKETS = {"OnDemand": False, "Preemptible": True}


@dataclass(slots=True)
class UnitPrices:
    """Billionths of a dollar an hour: for a core and a GiB of a family, a GPU, a GiB of disk."""

    cores: dict[tuple[str, Place], int] = field(default_factory=dict)
    memory: dict[tuple[str, Place], int] = field(default_factory=dict)
    gpus: dict[tuple[str, Place], int] = field(default_factory=dict)
    disk: dict[Place, float] = field(default_factory=dict)
    dishonest: int = 0


def read_skus(skus: Iterable[Mapping[str, Any]]) -> UnitPrices:
    """The unit prices among the catalogue's SKUs; commitments and sole tenancy are passed over."""
    prices = UnitPrices()
    for sku in skus:
        spot = _MARKETS.get(sku["category"]["usageType"])
        if spot is None:
            continue
        text = sku["description"]
        part, gpu = _PART.match(text) or _C2.match(text), _GPU.match(text)
        if not part and not gpu and not _DISK.match(text):
            continue
        unit, price = _hourly_nano(sku)
        if price <= 0:
            prices.dishonest += 1
            continue
        for region in sku["serviceRegions"]:
            place = (region, spot)
            if part and unit == ("h" if part["part"] == "Core" else "GiBy.h"):
                family = part.groupdict().get("family", "C2").lower()
                table = prices.cores if part["part"] == "Core" else prices.memory
                table[family, place] = price
            elif gpu and unit == "h" and gpu["model"] in _ACCELERATORS:
                prices.gpus[_ACCELERATORS[gpu["model"]], place] = price
            elif not part and not gpu and unit == "GiBy.mo":
                prices.disk[place] = price / HOURS_PER_MONTH
    return prices


def _hourly_nano(sku: Mapping[str, Any]) -> tuple[str, int]:
    """The unit and the first tier's price; the newest price where the catalogue lists several."""
    info = max(sku["pricingInfo"], key=lambda entry: entry.get("effectiveTime", ""))
    expression = info["pricingExpression"]
    rate = expression["tieredRates"][0]["unitPrice"]
    if rate.get("currencyCode", "USD") != "USD":
        return expression["usageUnit"], 0
    return expression["usageUnit"], int(rate.get("units", 0)) * 10**9 + int(rate.get("nanos", 0))
