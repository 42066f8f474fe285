"""What an hour of this machine would cost elsewhere, for when its owner names no price."""

import os
import platform
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.prices.price_book import open_book
from mlbroker.pricing.price_units import usd_from_nano

# Firmware and kernel keep some memory to themselves: a 16 GiB machine shows less.
MEMORY_SHOWN = 0.9


class Reference(NamedTuple):
    """The cheapest machine on sale, on demand, with as many vCPUs and as much memory."""

    price_per_hour_usd: Decimal
    instance_type: str
    cloud: str
    region: str


def reference_price(home: Path) -> Reference | None:
    """The reference for the machine this runs on; None when nothing that large is on sale."""
    import psutil

    arch = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    vcpus = os.cpu_count() or 1
    memory_gib = psutil.virtual_memory().total / 2**30 * MEMORY_SHOWN
    book = open_book(home)
    fitting = {
        number: kind
        for number, _, kind in book.types()
        if kind.hardware.vcpus >= vcpus
        and kind.hardware.memory_gib >= memory_gib
        and kind.hardware.arch == arch
        and not kind.retired
        and not kind.hardware.burstable
    }
    rows = [row for row in book.price_rows(depth=1) if not row.spot and row.type_id in fitting]
    if not rows:
        return None
    number, _, region_id, nano, *_ = min(rows, key=lambda row: row.nano_usd_per_hour)
    kind = fitting[number]
    return Reference(usd_from_nano(nano), kind.name, kind.cloud, book.regions()[region_id].name)
