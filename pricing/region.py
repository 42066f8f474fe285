"""Where machines stand: what disk, addresses, traffic and electricity cost there."""

from decimal import Decimal
from typing import NamedTuple


class Region(NamedTuple):
    """One region's side prices and grid. None means unknown, never zero.

    `egress_internet_usd_per_gb` is the first tier's price to the internet or another cloud;
    `egress_same_cloud_usd_per_gb` is to another region of the same cloud in the same geography,
    `egress_far_usd_per_gb` to another geography of the same cloud.
    `grid_kgco2e_per_kwh` is the annual, location-based intensity; `grid_source` says whose.
    """

    cloud: str
    name: str
    geography: str | None = None
    country: str | None = None
    disk_usd_per_gb_month: Decimal | None = None
    public_ip_usd_per_hour: Decimal | None = None
    egress_internet_usd_per_gb: Decimal | None = None
    egress_same_cloud_usd_per_gb: Decimal | None = None
    egress_far_usd_per_gb: Decimal | None = None
    grid_kgco2e_per_kwh: float | None = None
    grid_source: str | None = None
    pue: float | None = None
