"""Which of two quotes is better: cost, time, carbon, or cost with a price on carbon."""

import math

from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Objective, ObjectiveKind

Key = tuple[float, float]


def sort_key(
    objective: Objective, cost_usd: float, expected_s: float, carbon_kg: float | None
) -> Key:
    """Smaller is better; ties go to the cheaper. Unknown carbon comes after all known."""
    match objective.kind:
        case ObjectiveKind.COST:
            return (cost_usd, expected_s)
        case ObjectiveKind.TIME:
            return (expected_s, cost_usd)
        case ObjectiveKind.CARBON:
            return (math.inf if carbon_kg is None else carbon_kg, cost_usd)
        case ObjectiveKind.WEIGHTED:
            price = float(objective.usd_per_kg_co2e or 0)
            return (math.inf if carbon_kg is None else cost_usd + price * carbon_kg, cost_usd)


def quote_key(objective: Objective, quote: Quote) -> Key:
    """The key of a finished quote, for which the median stands for the expected time; without
    either, what an hour costs. What its price may have risen by counts too.
    """
    cost = quote.cost_usd
    if cost is None or quote.duration_h is None:
        machines = float(quote.price_per_hour_usd * quote.nodes)
        return float(quote.hourly_usd + quote.once_usd) + quote.price_width * machines, 0.0
    ranked = float(cost.expected) + quote.price_width * float(cost.compute + cost.interruptions)
    return sort_key(objective, ranked, quote.duration_h.p50, quote.carbon_kgco2e)
