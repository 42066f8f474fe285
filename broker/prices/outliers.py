"""Which prices are too odd to be offered: against the type's other regions, and its last price."""

# Measured over the embedded book: on-demand prices stay within 2.4 times their type's median
# over the regions, spot prices within 5.5 times. Beyond these factors it is an error, not a price.
ON_DEMAND_FACTOR = 8
SPOT_FACTOR = 12
# With fewer regions there is no telling which of them is odd.
FEWEST_REGIONS = 4


def factor(spot: bool | int) -> int:
    """How many times dearer or cheaper than usual a price may be."""
    return SPOT_FACTOR if spot else ON_DEMAND_FACTOR


def band(ascending: list[int], spot: bool | int) -> tuple[int, int] | None:
    """The lowest and highest believable price of a type, given all its prices in one market."""
    if len(ascending) < FEWEST_REGIONS:
        return None
    # The lower middle: a price that is there, so that one error among four cannot move it.
    median = ascending[(len(ascending) - 1) // 2]
    allowed = factor(spot)
    return -(-median // allowed), median * allowed


def jumped(now: int, before: int, spot: bool | int) -> bool:
    """Whether a price has moved further since the last one than vendors ever move theirs."""
    allowed = factor(spot)
    return now > before * allowed or now * allowed < before
