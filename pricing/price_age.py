"""How far a price may have moved since its date: the one place that says so."""

import math

# A price counts as it is for so long.
FRESH_DAYS = 90
# The standard deviation of the logarithm after a year, growing with the root of the time.
# Spot: the V100's prices in the three zones of us-west-2 rose by 0.12, 0.13 and 0.17 within 45 days
# of a public availability trace (first against last price), which makes 0.4 in a year.
# List prices stand still for years and then fall at once, as AWS did for GPUs in June 2025:
# an assumption.
SPOT_PER_YEAR = 0.4
ON_DEMAND_PER_YEAR = 0.1
# Nothing is claimed to have moved for longer; so old is also what has no date.
MOST_YEARS = 3.0


def price_width(spot: bool, age_days: int) -> float:
    """By what share the price may be higher by now; 0 while it is fresh."""
    if age_days <= FRESH_DAYS:
        return 0.0
    years = min(age_days / 365, MOST_YEARS)
    return math.expm1((SPOT_PER_YEAR if spot else ON_DEMAND_PER_YEAR) * math.sqrt(years))
