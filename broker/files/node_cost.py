"""What an hour of one's own machine costs: its price spread over the hours it works, and power."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_money_usd, parse_number, parse_positive
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.pricing.billing import MICRO_USD

HOURS_PER_YEAR = Decimal("8766")  # leap years included
KEYS = (
    "purchase_usd",
    "amortisation_years",
    "utilisation",
    "power_w",
    "power_usd_per_kwh",
    "pue",
    "upkeep_usd_per_year",
)


@dataclass(frozen=True, slots=True)
class DerivedPrice:
    """US dollars for an hour of work, and the sum that led to it, in words.

    Where it was derived, what every hour of the calendar costs, used or not, and what is added by
    one in use.
    """

    usd_per_hour: Decimal
    how: str
    fixed_usd_per_hour: Decimal | None = None
    running_usd_per_hour: Decimal | None = None


def derive_price(cost: Fields) -> DerivedPrice:
    """The hourly price from a `cost:` block.

    Purchase and upkeep are spread over the hours the machine works: amortisation years times
    hours of a year times utilisation (1 when absent). Power counts for those hours only.
    """
    cost.refuse_unknown(KEYS)
    example = "cost: {purchase_usd: 9000, amortisation_years: 4}"
    purchase = cost.required("purchase_usd", parse_money_usd, example)
    years = cost.required("amortisation_years", parse_positive, example)
    utilisation = cost.value("utilisation", _share) or Decimal(1)
    upkeep = cost.value("upkeep_usd_per_year", parse_money_usd) or Decimal(0)
    watts = cost.value("power_w", parse_positive)
    power_price = cost.value("power_usd_per_kwh", parse_number)
    pue = cost.value("pue", _pue) or Decimal(1)
    if (watts is None) != (power_price is None):
        missing = "power_w" if watts is None else "power_usd_per_kwh"
        cost.fail(missing, "is missing: power needs both watts and a price")
    hours = HOURS_PER_YEAR * utilisation
    capital = purchase / (years * hours)
    parts = [f"{purchase} USD / ({years} years x {hours:f} h in use) = {_round(capital)}"]
    total, running = capital, Decimal(0)
    if upkeep:
        total += upkeep / hours
        parts.append(f"upkeep {upkeep} USD / {hours:f} h = {_round(upkeep / hours)}")
    if watts is not None and power_price is not None:
        running = watts / 1000 * pue * power_price
        total += running
        parts.append(f"power {watts} W x PUE {pue} x {power_price} USD/kWh = {_round(running)}")
    price = _round(total)
    if price <= 0:
        cost.fail("purchase_usd", "gives no price per hour", "check amortisation_years")
    how = f"{'; '.join(parts)}; together {price} USD/h"
    return DerivedPrice(price, how, (total - running) * utilisation, running)


def _round(value: Decimal) -> Decimal:
    return value.quantize(MICRO_USD, ROUND_HALF_UP)


def _share(text: str) -> Decimal:
    value = parse_positive(text)
    if value > 1:
        raise InputError("must be between 0 and 1", hint="write 0.5 for half of all hours")
    return value


def _pue(text: str) -> Decimal:
    value = parse_number(text)
    if value < 1:
        raise InputError("must be 1 or more", hint="all power used over that of the machine")
    return value
