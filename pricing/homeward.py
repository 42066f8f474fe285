"""What it costs to bring home what a rented machine left in the user's bucket."""

from decimal import ROUND_CEILING, ROUND_DOWN, Decimal
from typing import NamedTuple

from mlbroker.pricing.billing import MICRO_USD

BYTES_PER_GB = Decimal(10**9)
# Kept free of every cap for what nobody said the size of: the cost of so many GB, which is what the
# guest program keeps of a work directory unasked, and no more than this share of the cap.
UNASKED_GB = Decimal("0.1")
UNASKED_SHARE = Decimal("0.02")
# What is not reckoned, at a hundredth of a cent: a short log, a figure or two.
UNRECKONED_GB = Decimal("0.001")


class Homeward(NamedTuple):
    """Prices of the way home. `declared_gb` are in the bill already, whether they come or not;
    each GB beyond them, and beyond the first megabyte, costs `usd_per_gb`.
    """

    usd_per_gb: Decimal
    declared_gb: Decimal = Decimal(0)

    @property
    def free_gb(self) -> Decimal:
        """What comes home for the bill."""
        return max(self.declared_gb, UNRECKONED_GB)

    def allowance_usd(self, cap_usd: Decimal) -> Decimal:
        """What of a cap is kept for what was not declared."""
        most = min(UNASKED_GB * self.usd_per_gb, UNASKED_SHARE * cap_usd)
        return max(Decimal(0), most).quantize(MICRO_USD, ROUND_DOWN)

    def cap_usd(self, machine_usd: Decimal) -> Decimal:
        """The least cap that pays for so much beside its allowance."""
        share = machine_usd / (1 - UNASKED_SHARE)
        most = machine_usd + UNASKED_GB * max(Decimal(0), self.usd_per_gb)
        return min(share, most).quantize(MICRO_USD, ROUND_CEILING)

    def usd(self, before: int, more: int) -> Decimal:
        """What so many bytes more cost beside the bill, rounded up; `before` came already."""
        beyond = [
            max(Decimal(0), Decimal(count) / BYTES_PER_GB - self.free_gb)
            for count in (before, before + more)
        ]
        return (self.usd_per_gb * (beyond[1] - beyond[0])).quantize(MICRO_USD, ROUND_CEILING)

    def most_bytes(self, usd: Decimal) -> int | None:
        """How many in all come for the bill and so much beside it; None: any number."""
        if self.usd_per_gb <= 0:
            return None
        return int((self.free_gb + max(Decimal(0), usd) / self.usd_per_gb) * BYTES_PER_GB)
