"""`mlbroker spot`: what is believed of spot machines, and from what."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from mlbroker.broker.cli import completion, options
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_rows, say
from mlbroker.broker.words import count, money

app = typer.Typer(no_args_is_help=True)

MOST_REGIONS = 10
# Left out one after the other where the terminal is narrow: band, share of on demand.
SPARE = (3, 2)


@app.callback()
def group() -> None:
    """Say what is believed of spot machines, and from what."""


@app.command()
def show(
    type_name: Annotated[
        str,
        typer.Argument(metavar="TYPE", help="A machine type.", autocompletion=completion.types),
    ],
    cloud: options.Cloud = None,
    region: options.Region = None,
    json: options.Json = False,
) -> None:
    """A type's spot machines by region, and how long they live.

    With the price, the chance of being taken, how long none is to be had, and from what each is
    believed. Places where your own runs were come first, then the cheapest regions.
    """
    load_numpy()
    from mlbroker.broker.app import spot as reports

    found = reports.show(type_name, home(), cloud, region, Terminal(), datetime.now(UTC))
    if json:
        print_json(found)
        return
    if not found["places"]:
        say(f"{type_name} is not sold on spot there, as far as the price book knows.")
        return
    own = [row for row in found["places"] if _tried(row)]
    others = [row for row in found["places"] if not _tried(row)]
    listed = [*own, *others[: max(0, MOST_REGIONS - len(own))]]
    columns = {
        "place": "place",
        "USD/h": "usd",
        "share": "share",
        "band": "band",
        "taken": "own",
        "life": "life",
        "in 1h": "soon",
        "in 8h": "later",
        "from": "basis",
    }
    if not any(row["own"]["here"]["machines"] for row in listed):
        del columns["taken"]
    right = [name for name in columns if name not in ("place", "from")]
    print_rows(columns, [_cells(row, found["gpu"]) for row in listed], right=right, spare=SPARE)
    _explain(found, listed)


def _cells(row: dict[str, Any], gpu: bool) -> dict[str, str]:
    usd, share, band = (
        row[name] for name in ("price_per_hour_usd", "share_of_on_demand", "interruption_rate")
    )
    own, believed = row["own"]["here"], row["believed"]
    return {
        "place": _place(row),
        "usd": "unknown" if usd is None else money(Decimal(usd)),
        "share": "unknown" if share is None else f"{share:.0%}",
        "band": "unknown" if band is None else f"{band:.1%}",
        "own": f"{own['taken']} in {own['hours']:.0f}h" if own["machines"] else "",
        "life": _about(believed["life_h"]),
        "soon": _chance(believed["taken_within_1h"]),
        "later": _chance(believed["taken_within_8h"]),
        "basis": "+".join(_basis(row, gpu)),
    }


def _basis(row: dict[str, Any], gpu: bool) -> list[str]:
    own = row["own"]
    words = []
    if own["here"]["machines"]:
        words.append("own")
    elif own["of_type"]["machines"]:
        words.append("type")
    known = row["interruption_rate"] is not None
    return [*words, "band" if known else "V100" if gpu else "V100/4"]


def _explain(found: dict[str, Any], listed: list[dict[str, Any]]) -> None:
    """What the words of the table stand for, as far as they are in it."""
    bases = {word for row in listed for word in _basis(row, found["gpu"])}
    say("share: of the price on demand there. in 1h, 8h: chance that a new one is taken.")
    if "own" in bases:
        say("own: what your runs saw there; few of them count for little beside the rest.")
    if "type" in bases:
        say("type: what your runs saw of this type elsewhere.")
    if "band" in bases:
        say("band: how many of such machines are taken in a month, as the vendor publishes it")
        say("  (the middle of its band), read as the chance within a day.")
    if "V100" in bases:
        say("V100: nobody publishes it; the rates of recorded V100 machines, cautiously.")
    if "V100/4" in bases:
        say("V100/4: nobody publishes it; a quarter of the rates of recorded V100 machines, as a")
        say("  guess for machines without a GPU.")
    zoned = {(row["cloud"], row["region"]) for row in listed if row["zone"]}
    finest = [row for row in listed if row["zone"] or (row["cloud"], row["region"]) not in zoned]
    _tell_outages(finest)
    for row in finest:
        if row["last_shortage_at"] is not None:
            at = datetime.fromisoformat(row["last_shortage_at"])
            say(f"Asked for in vain last: {_place(row)}, {at:%Y-%m-%d %H:%M} UTC.")
    if any(row["price_stale"] for row in listed):
        say("Some prices are old: `mlbroker prices refresh` fetches today's.")
    shown = {(row["cloud"], row["region"]) for row in listed}
    more = {(row["cloud"], row["region"]) for row in found["places"]} - shown
    if more:
        say(f"{count(len(more), 'more region')}: name one with --region, or see all with --json.")


def _tell_outages(rows: list[dict[str, Any]]) -> None:
    """How long none can be had, once one was asked for in vain."""
    usual = None
    for row in rows:
        lasts, here = _about(row["believed"]["outage_h"]), row["own"]["here"]
        if not row["own"]["of_type"]["outages"]:
            usual = lasts
        elif here["outages"]:
            ended = f"{here['outages_ended']} of {count(here['outages'], 'outage')} seen to end"
            say(f"Outages of {_place(row)} last {lasts} more on average ({ended}).")
    if usual:
        say(f"Where a machine is asked for in vain, none is to be had for {usual} more on")
        say("  average (nobody publishes it; recorded V100 machines).")


def _tried(row: dict[str, Any]) -> bool:
    here = row["own"]["here"]
    return bool(here["machines"] or here["outages"] or row["last_shortage_at"])


def _place(row: dict[str, Any]) -> str:
    return f"{row['cloud']} {row['zone'] or row['region']}"


def _about(hours: float) -> str:
    """To what such a figure is good for: 84 min, 5.4 h, 8 d."""
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.0f} d"


def _chance(of: float) -> str:
    return "<0.1%" if of < 0.001 else f"{of:.1%}" if of < 0.1 else f"{of:.0%}"
