"""What an hour of this machine would cost elsewhere, for when its owner names no price."""

import os
import platform
from pathlib import Path

from mlbroker.broker.prices.price_book import open_book
from mlbroker.pricing.offer import Offer

# Firmware and kernel keep some memory to themselves: a 16 GiB machine shows less.
MEMORY_SHOWN = 0.9


def reference_price(home: Path) -> Offer | None:
    """The cheapest machine on sale, on demand, with as many vCPUs and as much memory as this one.

    None when nothing that large is on sale.
    """
    import psutil

    arch = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    vcpus = os.cpu_count() or 1
    memory_gib = psutil.virtual_memory().total / 2**30 * MEMORY_SHOWN
    book = open_book(home)
    fitting = {
        number
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
    cheapest = min(rows, key=lambda row: row.nano_usd_per_hour)
    return book.offer(cheapest.type_id, cheapest.spot, cheapest.region_id)
