"""From a cap to a kill time, from a lifetime to its worst case, from hours to a charge."""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_UP, Decimal

from mlbroker.pricing.billing import MICRO_USD

_HOUR = Decimal(3600)
_MILLI = Decimal("0.001")
# However large the budget: no run outlives this, and no vendor's timer is set further ahead.
LONGEST_S = Decimal(100 * 86400)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a machine costs while it stands, and once.

    `per_hour_usd` holds all nodes, disks and addresses; `fixed_usd` the allowance for egress.
    `minimum_s` is the least time billed, `slack_s` how long it may bill past the kill time.
    """

    per_hour_usd: Decimal
    fixed_usd: Decimal = Decimal(0)
    minimum_s: Decimal = Decimal(0)
    slack_s: Decimal = Decimal(0)

    def lifetime_s(self, cap_usd: Decimal) -> Decimal | None:
        """The longest life whose worst case fits under the cap; None when none does."""
        for_time = cap_usd - self.fixed_usd
        if self.per_hour_usd <= 0 or for_time <= 0:
            return None
        billable = for_time / self.per_hour_usd * _HOUR
        lifetime = min(billable - self.slack_s, LONGEST_S).quantize(_MILLI, ROUND_FLOOR)
        if lifetime <= 0 or self.worst_usd(lifetime) > cap_usd:
            return None
        return lifetime

    def worst_usd(self, lifetime_s: Decimal) -> Decimal:
        """What a machine can come to cost that is killed after `lifetime_s`."""
        return self.charge_usd(lifetime_s + self.slack_s)

    def charge_usd(self, seconds: Decimal) -> Decimal:
        """The charge for a machine that stood this long, rounded up to a millionth of a dollar."""
        billed = max(seconds, self.minimum_s)
        total = self.fixed_usd + self.per_hour_usd * billed / _HOUR
        return total.quantize(MICRO_USD, ROUND_UP)
