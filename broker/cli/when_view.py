"""Where and when to start, as a person reads it: regions by least carbon, and what that costs."""

from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.words import duration, money
from mlbroker.policies.intensity import Signal
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.when import Start, When

COLUMNS = ("cloud", "region", "type", "market", "start (UTC)", "in", "kgCO2e", "now", "saved",
           "cost $")  # fmt: skip
RIGHT = ("in", "kgCO2e", "now", "saved", "cost $")
# Left out on a narrow terminal, one after the other: now, cloud, market, in.
SPARE = (7, 0, 3, 5)
# A series that covers less of the time to the deadline leaves starts out.
WHOLE = 0.999
_SIGNAL_WORDS = {
    Signal.AVERAGE: "the average of the grid",
    Signal.AVERAGE_DIRECT: "the average of the grid, direct emissions",
    Signal.AVERAGE_LIFE_CYCLE: "the average of the grid, life cycle",
    Signal.MARGINAL: "the marginal plant, what one more kWh emits",
}


def show_when(when: When, plan: Plan) -> None:
    """Each region's least carbon, the best in words beside the plan's choice, and what is left."""
    print_line("")
    if when.regions:
        print_table(
            COLUMNS,
            [_row(start, when) for start in when.regions],
            title=f"Where and when for least carbon, by {_SIGNAL_WORDS[when.signal]}",
            right=RIGHT,
            highlight=0,
            spare=SPARE,
        )
        print_line("")
        print_line(f"Least carbon: {_words(when.regions[0], when)}{_beside(when, plan)}")
    if when.choice is not None:
        print_line(f"The choice: {_words(when.choice, when)}")
    elif when.not_shifted is not None:
        print_line(f"The choice has no start: {when.not_shifted}.")
    covers: dict[str, float] = {}
    for start in when.regions:
        source = start.intensity.source
        covers[source] = min(covers.get(source, 1.0), start.covered)
    for source, covered in covers.items():
        if covered < WHOLE:
            print_line(
                f"{source} covers {covered:.0%} of the time to the deadline: no window was looked"
                " at beyond that."
            )
    by_reason: dict[str, list[str]] = {}
    for place, why in sorted(when.untold.items()):
        by_reason.setdefault(why, []).append(place)
    for why, places in by_reason.items():
        print_line(f"No start in {', '.join(places)}: {why}.")


def _row(start: Start, when: When) -> list[str]:
    quote, now, share = start.quote, start.now_carbon_kgco2e, start.saved_share
    return [
        quote.cloud,
        quote.region,
        quote.instance_type,
        quote.market.replace("_", "-"),
        f"{start.at:%Y-%m-%d %H:%M}",
        _in(start, when),
        f"{start.carbon_kgco2e:.2g}",
        "?" if now is None else f"{now:.2g}",
        "?" if share is None else f"{share:.0%}",
        "?" if quote.cost_usd is None else money(quote.cost_usd.expected),
    ]


def _in(start: Start, when: When) -> str:
    seconds = (start.at - when.now).total_seconds()
    return "now" if seconds < 30 else duration(seconds)


def _words(start: Start, when: When) -> str:
    quote = start.quote
    begun = _in(start, when)
    at = "started now" if begun == "now" else f"started {start.at:%Y-%m-%d %H:%M} UTC, in {begun}"
    saved = start.saved_share
    if saved is None:
        against = "; what it would emit now is not known"
    elif begun == "now":
        against = ", which no later start betters"
    else:
        against = f", {saved:.0%} less than now ({start.now_carbon_kgco2e:.2g})"
    return (
        f"{quote.cloud} {quote.instance_type} in {quote.region}"
        f" ({quote.market.replace('_', '-')}), {at}: {start.carbon_kgco2e:.2g} kgCO2e{against}."
    )


def _beside(when: When, plan: Plan) -> str:
    """What the least carbon costs more than the choice."""
    here, choice = when.regions[0].quote.cost_usd, plan.choice
    if here is None or choice is None or choice.cost_usd is None:
        return ""
    more = here.expected - choice.cost_usd.expected
    if abs(more) < abs(choice.cost_usd.expected) / 1000:
        return f" It costs {money(here.expected)} USD, as the choice does."
    word = "more" if more > 0 else "less"
    return f" It costs {money(here.expected)} USD, {money(abs(more))} {word} than the choice."
