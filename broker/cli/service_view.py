"""How the machines of a service are shown: each type by itself, and the mix."""

from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.service_words import asked_words, chosen_words, fleet_words
from mlbroker.broker.words import money
from mlbroker.policies.service.demand import Chosen
from mlbroker.policies.service.fleet import Fleet
from mlbroker.pricing.billing import HOURS_PER_MONTH
from mlbroker.profiles.job import Job

COLUMNS = ("machines", "USD a month", "1,000 requests", "served", "used")
SHOWN = 3


def show_fleets(chosen: Chosen, job: Job, *, explain: bool) -> None:
    """The best first, then the cheapest types by themselves; all of them with `explain`."""
    best = chosen.choice.best
    fleets = [] if best is None else [best]
    singles = [single.fleet for single in chosen.choice.singles if single.fleet is not None]
    fleets += [fleet for fleet in singles if fleet != best][: None if explain else SHOWN]
    print_line("")
    rows = [_row(chosen, fleet) for fleet in fleets]
    if rows:
        print_table(COLUMNS, rows, title=asked_words(chosen), right=COLUMNS[1:], spare=(4, 3))
    else:
        print_line(asked_words(chosen))
    for line in chosen_words(chosen, job, explain=explain):
        print_line(line)


def _row(chosen: Chosen, fleet: Fleet) -> list[str]:
    return [
        fleet_words(fleet),
        money(fleet.usd_per_h * HOURS_PER_MONTH),
        f"{1000 * chosen.usd_per_request(fleet):.3g}",
        f"{fleet.served:.1%}",
        f"{chosen.used(fleet):.0%}",
    ]
