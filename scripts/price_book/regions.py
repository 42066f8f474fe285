"""Regions of the embedded book: disk, address and traffic prices, grid and PUE; CPU power."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from scripts.price_book.tables import Row, read_table

# The disk one gets without thinking: the vendor's default general-purpose SSD.
DISK_KIND = {"aws": "gp3", "gcp": "pd-balanced", "azure": "premium-ssd"}
ADDRESS_KIND = {
    "aws": "public-ipv4",
    "gcp": "public-ipv4-vm",
    "azure": "public-ipv4-standard-static",
}


def region_rows(folder: Path) -> list[list[Any]]:
    """One row a region, in the order of the fields of `Region`; prices as decimal strings."""
    disks = _lookup(read_table(folder, "block_storage.csv"), DISK_KIND, "usd_per_gb_month")
    addresses = _lookup(read_table(folder, "public_ipv4.csv"), ADDRESS_KIND, "usd_per_hour")
    internet = _internet(folder)
    between = {
        (row["cloud"], row["from_geography"], row["to"]): row["usd_per_gb"]
        for row in read_table(folder, "egress.csv")
    }
    rows = []
    for row in sorted(read_table(folder, "regions.csv"), key=lambda r: (r["cloud"], r["region"])):
        cloud, region, geography = row["cloud"], row["region"], row["geography"]
        # AWS has one price to its other regions, near or far.
        anywhere = between.get((cloud, geography, "inter_region"))
        near = between.get((cloud, geography, "inter_region_same_continent"), anywhere)
        far = between.get((cloud, geography, "inter_region_other_continent"), anywhere)
        rows.append(
            [
                cloud,
                region,
                geography,
                row["country"],
                _money(disks(cloud, region, geography)),
                _money(addresses(cloud, region, geography)),
                _money(internet(cloud, region, geography)),
                _money(near),
                _money(far),
                round(row["grid_gco2e_per_kwh"] / 1000, 9),
                f"{row['source']} {row['year']} ({row['method']})",
                row["pue"],
            ]
        )
    return rows


def cpu_power(folder: Path) -> dict[str, list[float]]:
    """CPU family -> watts of one virtual CPU at idle and at full load."""
    return {
        row["cpu"]: [row["idle_w_per_vcpu"], row["max_w_per_vcpu"]]
        for row in read_table(folder, "cpu_power.csv")
    }


# azure.microsoft.com/pricing/details/bandwidth, "routed via Microsoft Premium Global Network", the
# first tier that is paid, by the continent of the source. Read 2026-11.
AZURE_EGRESS_USD_PER_GB = {"us": 0.087, "ca": 0.087, "mx": 0.087, "eu": 0.087, "sa": 0.181}
AZURE_EGRESS_ELSEWHERE_USD_PER_GB = 0.12

Lookup = Callable[[str, str, str], float | None]


def _lookup(rows: list[Row], kinds: dict[str, str], column: str) -> Lookup:
    """Prices of the chosen kinds: the region's own, else its geography's, else the cloud's."""
    prices: dict[tuple[str, str], float] = {
        (row["cloud"], row["region"]): row[column]
        for row in rows
        if row["kind"] == kinds[row["cloud"]]
    }

    def price(cloud: str, region: str, geography: str) -> float | None:
        for place in (region, geography, "*"):
            if (cloud, place) in prices:
                return prices[cloud, place]
        return None

    return price


def _internet(folder: Path) -> Lookup:
    """The first paid tier to the internet.

    For GCP that is the premium network tier, and for Azure its own global network: so machines are
    routed unless told otherwise. The tables have what Azure takes for routing by others.
    """
    own: dict[tuple[str, str], float] = {}
    for row in read_table(folder, "egress_internet_by_region.csv"):
        own.setdefault((row["cloud"], row["region"]), row["usd_per_gb"])
    general = {
        (row["cloud"], row["from_geography"], row["to"]): row["usd_per_gb"]
        for row in read_table(folder, "egress.csv")
    }

    def price(cloud: str, region: str, geography: str) -> float | None:
        if cloud == "azure":
            return AZURE_EGRESS_USD_PER_GB.get(geography, AZURE_EGRESS_ELSEWHERE_USD_PER_GB)
        if cloud == "gcp":
            return general.get((cloud, geography, "internet_premium_tier"))
        return own.get((cloud, region), general.get((cloud, geography, "internet")))

    return price


def _money(value: float | None) -> str | None:
    """A decimal string without the noise of binary fractions."""
    if value is None:
        return None
    return str(round(Decimal(str(value)), 9).normalize())
