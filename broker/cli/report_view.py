"""The report for people at a terminal: readable at 80 columns, and without colour."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.report.report_words import (
    calibration_words,
    cap_words,
    deadline_words,
    energy_words,
    node_words,
    period_words,
    saved_words,
    signed,
    spread_words,
    uses_words,
)
from mlbroker.broker.words import count, figure, money

if TYPE_CHECKING:
    from mlbroker.broker.report.report import Report
    from mlbroker.broker.report.tally import Tally
    from mlbroker.policies.alerts import Alert

BARS = "▁▂▃▄▅▆▇█"
MONEY = ("USD", "reserved", "saved USD", "kWh", "kg CO2e", "runs", "in time")
# Left out one after the other where the terminal is narrow: kWh, in time, reserved.
SPARE = (4, 6, 2)
GROUPS = 25


def show(report: "Report", alerts: "Sequence[Alert]") -> None:
    """All of it."""
    total = report.total
    print_line(period_words(report))
    spent = f"{money(total.spent_usd)} USD in {count(total.runs, 'run')}"
    lines = [("spent", spent + _sparkline(report))]
    if total.open_runs:
        held = f"{money(total.reserved_usd)} USD by {count(total.open_runs, 'open run')}"
        lines.append(("reserved", held))
    if total.runs:
        lines += [
            ("saved", saved_words(total.saved)),
            ("energy", energy_words(total)),
            ("went to", uses_words(total)),
        ]
    deadlines, held_words = deadline_words(total), calibration_words(report.times, report.costs)
    if deadlines is not None:
        lines.append(("deadlines", deadlines))
    if held_words is not None:
        lines.append(("predicted", held_words))
    if report.forecast is not None:
        lines.append(("month", f"comes to {spread_words(report.forecast)}"))
    lines += [("cap", cap_words(cap)) for cap in report.caps]
    for name, words in lines:
        print_line(f"  {name:<10}{words}")
    for node in report.nodes:
        for line in node_words(node):
            print_line(f"  {line}")
    for alert in alerts:
        print_line(f"  ALERT     {alert.text}")
    if report.groups:
        print_line("")
        _groups(report)


def _groups(report: "Report") -> None:
    shown = list(report.groups.items())[:GROUPS]
    columns = (report.query.by, "USD", "reserved", "saved USD", "kWh", "runs", "in time")
    print_table(columns, [_row(key, each) for key, each in shown], right=MONEY, spare=SPARE)
    if len(report.groups) > GROUPS:
        print_line(f"… and {len(report.groups) - GROUPS:,} more (--csv, --json)")


def _row(key: str, each: "Tally") -> list[str]:
    return [
        key,
        money(each.spent_usd),
        money(each.reserved_usd) if each.open_runs else "",
        signed(each.saved.usd) if each.saved.runs else "",
        figure(each.energy_kwh) if each.energy_known else "",
        str(each.runs),
        f"{each.in_time}/{each.deadlines}" if each.deadlines else "",
    ]


def _sparkline(report: "Report") -> str:
    """Of the days' spending, the last thirty-one of them."""
    spent = [day.usd for day in report.days[-31:]]
    most = max(spent, default=Decimal(0))
    if most <= 0 or len(spent) < 2:
        return ""
    # The lowest bar is for days on which nothing was spent.
    high = len(BARS) - 1
    heights = [0 if not usd else 1 + int(usd / most * (high - 1)) for usd in spent]
    return "  " + "".join(BARS[height] for height in heights)
