"""The requests of a run to its bucket: how often they come at most, and what vendors ask for them.

Machine and client keep to this pace (`broker/guest/pace.py`), and the bill reckons with it.
"""

import math
from decimal import Decimal
from typing import NamedTuple


class Pace(NamedTuple):
    """One request in `shortest_s` at first, and ever fewer as the run ages: one in `longest_s`.

    Each waits for a share of the run's age: `slowing` says which.
    """

    shortest_s: float
    longest_s: float
    slowing: float = 30

    @property
    def per_hour(self) -> Decimal:
        """The most, once the run is old."""
        return Decimal(3600) / Decimal(str(self.longest_s))

    @property
    def early(self) -> int:
        """The most that a run makes beyond that while it is young.

        While all waits are that share of the age, the logarithm of how much it grew says how many.
        """
        grown = math.log(self.longest_s / self.shortest_s)
        return math.ceil((self.slowing + 2) * grown) + 3


# What each machine writes: a report and what its log grew by make two, so that both come once a
# minute in the end.
WRITES = Pace(3, 30)
# Each machine looks whether it is asked to stop; the client waits 30 s for it.
HEEDS = Pace(1, 10)
# The client reads each machine's report, and what was written beside it once.
LOOKS = Pace(5, 30)
# Beside that, for each machine: job, program, links, seat and lists on the way in, the last report
# and files on the way out, and waiting for what is not there yet.
ONCE_WRITES, ONCE_READS = 32, 192
# Outputs travel in parts of 32 MiB, each written and read once.
PARTS_PER_GB = 30


class RequestPrices(NamedTuple):
    """US dollars for one request: a write (put, post, list) or a read (get, head)."""

    write_usd: Decimal
    read_usd: Decimal

    @property
    def usd_per_hour(self) -> Decimal:
        """What one machine's requests and the client's for it come to at most, once it is old."""
        writes, heeds, looks = WRITES.per_hour, HEEDS.per_hour, LOOKS.per_hour
        return writes * (self.write_usd + self.read_usd) + (heeds + looks) * self.read_usd

    def once_usd(self, nodes: int) -> Decimal:
        """What they come to beyond that, for one machine of `nodes` that know each other."""
        # Each learns the others' addresses, and may ask them to stop.
        writes = WRITES.early + ONCE_WRITES + nodes
        reads = HEEDS.early + LOOKS.early + ONCE_READS + nodes
        return writes * self.write_usd + (reads + WRITES.early) * self.read_usd

    @property
    def usd_per_gb(self) -> Decimal:
        """What the parts of a GB of outputs come to."""
        return PARTS_PER_GB * (self.write_usd + self.read_usd)


# List prices of the dearest region known, read 2026-11. AWS's price list: S3 Standard in São Paulo,
# usage types SAE1-Requests-Tier1 and -Tier2 (us-east-1: 0.005 and 0.0004 USD a thousand).
S3_REQUESTS = RequestPrices(Decimal("0.000007"), Decimal("0.00000056"))
# cloud.google.com/storage/pricing: operations of class A and B, Standard storage in a region.
GCS_REQUESTS = RequestPrices(Decimal("0.000005"), Decimal("0.0000004"))
# Azure's retail prices, General Block Blob v2, in East US: "Hot LRS Write Operations" (and "List
# and Create Container") 0.05, "Hot Read Operations" 0.004 USD for ten thousand. Twice that here:
# no list of all regions was to be had.
BLOB_REQUESTS = RequestPrices(Decimal("0.00001"), Decimal("0.0000008"))
