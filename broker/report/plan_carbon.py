"""What the choice's run would emit in each region that sells the machine."""

from typing import Any, NamedTuple

from mlbroker.broker.report.parts import Chart
from mlbroker.broker.report.rows import rows_of
from mlbroker.broker.report.specs import Spec, tooltip
from mlbroker.broker.words import mass
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote
from mlbroker.pricing import power
from mlbroker.pricing.offer import Market
from mlbroker.pricing.price_units import NANO_PER_USD

_UNKNOWN = "unknown"


class RegionCarbon(NamedTuple):
    """One region: emissions in kgCO2e of the run (or, of a job never measured, of an hour), None
    where unknown, and the price there of one machine in USD an hour.
    """

    region: str
    kg: float | None
    price_per_hour_usd: float


def by_region(choice: Quote, book: Book) -> list[RegionCarbon]:
    """Every region that sells the choice's type in its market, cleanest first, unknown ones last.

    The run takes as long anywhere; power, building and grid are each region's own.
    """
    regions = book.regions()
    ids = [n for n, _, kind in book.types() if (kind.cloud, kind.name) == _name(choice)]
    home = next(r for r in regions.values() if (r.cloud, r.name) == (choice.cloud, choice.region))
    # The quote's watts are its building's share included.
    watts = None if choice.power_w is None or not home.pue else choice.power_w / home.pue
    hours = _hours(choice)
    found = []
    for type_id in ids:
        for row in book.prices_of(type_id, int(choice.market is Market.SPOT)):
            region = regions[row.region_id]
            kg = power.carbon_kgco2e(power.energy_kwh(watts, hours, region), region)
            found.append(RegionCarbon(region.name, kg, row.nano_usd_per_hour / NANO_PER_USD))
    return sorted(found, key=lambda each: (each.kg is None, each.kg or 0, each.region))


def carbon_chart(plan: Plan, book: Book) -> Chart | None:
    """A bar a region; None without a choice, or where the choice is sold in one place only."""
    choice = plan.choice
    places = [] if choice is None else by_region(choice, book)
    if choice is None or len(places) < 2:
        return None
    records: list[dict[str, Any]] = [
        each._asdict() | {
            "note": "the choice" if each.region == choice.region else "",
            "known": "" if each.kg is not None else _UNKNOWN,
        }
        for each in places
    ]  # fmt: skip
    rows = rows_of(records, {
        "region": "Region", "kg": ("CO2e", mass),
        "price_per_hour_usd": ("$ an hour", lambda usd: f"{usd:.6g}"),
        "note": "Note", "known": "Known",
    })  # fmt: skip
    unit = "kg CO2e of a run" if choice.duration_h is not None else "kg CO2e an hour"
    y = {"field": "region", "type": "nominal", "title": None, "sort": None}
    said = tooltip(rows, ("region", "kg", "price_per_hour_usd"))
    hue = {"condition": {"test": "datum.note !== ''", "value": "--accent"}, "value": "--series-3"}
    along = {"field": "kg", "type": "quantitative", "title": unit, "axis": {"format": ",~r"}}
    spec: Spec = {
        "height": 19 * len(places),
        "encoding": {"y": y, "tooltip": said},
        "layer": [
            {"mark": {"type": "bar", "opacity": 0.7}, "encoding": {"x": along, "color": hue}},
            {"transform": [{"filter": f"datum.known === '{_UNKNOWN}'"}],
             "mark": {"type": "text", "align": "left", "dx": 4, "color": "--soft"},
             "encoding": {"x": {"value": 0}, "text": {"value": _UNKNOWN}}},
            {"transform": [{"filter": "datum.note !== ''"}],
             "mark": {"type": "text", "align": "left", "dx": 4},
             "encoding": {"x": along, "text": {"field": "note"}}},
        ],
    }  # fmt: skip
    return Chart(f"Carbon of {choice.instance_type} by region", spec, rows, _words(places, choice))


def _words(places: list[RegionCarbon], choice: Quote) -> str:
    known = [each for each in places if each.kg is not None]
    market = choice.market.replace("_", " ")
    text = f"{len(places)} regions sell it ({market}), prices aside."
    if known:
        text += f" Cleanest is {known[0].region}, with {mass(known[0].kg or 0)}."
    missing = len(places) - len(known)
    return text + (f" Of {missing} the grid or the power is unknown." if missing else "")


def _name(choice: Quote) -> tuple[str, str]:
    return choice.cloud, choice.instance_type


def _hours(choice: Quote) -> float:
    """What energy was reckoned over: the run's expected hours, else one."""
    if choice.energy_kwh is None or not choice.power_w:
        return 1.0
    return choice.energy_kwh * 1000 / choice.power_w
