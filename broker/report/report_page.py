"""The report as a page: what people who own a budget look at."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.broker.report.page import Served, page
from mlbroker.broker.report.parts import (
    KeyFigure,
    KeyFigures,
    Notes,
    Part,
    Prose,
    Table,
)
from mlbroker.broker.report.report_charts import (
    days_chart,
    groups_chart,
    month_chart,
    predictions_chart,
    uses_chart,
)
from mlbroker.broker.report.report_words import (
    FEW,
    deadline_words,
    energy_words,
    node_words,
    period_words,
    saved_words,
    signed,
    small_too,
)
from mlbroker.broker.report.rows import Figures, Rows, Words, rows_of
from mlbroker.broker.report.tally import saved_usd
from mlbroker.broker.words import count, duration, figure, money

if TYPE_CHECKING:
    from mlbroker.broker.report.report import Report
    from mlbroker.policies.alerts import Alert


def report_page(report: "Report", alerts: "Sequence[Alert]", served: Served | None = None) -> str:
    """The page. MlbrokerError where the chart library was not built."""
    title = f"Spending of machine-learning jobs, {period_words(report)}"
    return page(title, list(_parts(report, alerts)), served)


def _parts(report: "Report", alerts: "Sequence[Alert]") -> Iterator[Part]:
    total = report.total
    if not total.runs:
        yield Prose("No run was reserved in this time.", strong=True)
    elif total.saved.runs:
        yield Prose(f"Saved: {saved_words(total.saved)}.", strong=True)
    yield KeyFigures(list(_key_figures(report)))
    if alerts:
        yield Prose([alert.text for alert in alerts], title="Alerts", strong=True)
    charts = (
        days_chart(report),
        month_chart(report),
        uses_chart(total),
        groups_chart(report),
        predictions_chart(report),
    )
    yield from (chart for chart in charts if chart is not None)
    if report.caps:
        yield _caps(report)
    if report.nodes:
        lines = [line.strip() for node in report.nodes for line in node_words(node)]
        yield Prose(lines, title="Own machines")
    if report.groups:
        yield _groups(report)
    if report.runs:
        yield _runs(report)
    yield Notes(_NOTES, "How to read this")


# Of more, a page is slow to load, and a CSV better read.
_MOST_RUNS = 5000
_NOTES = (
    ("saved", "what the usual machine would have cost, as predicted at the launch and scaled by how"
     " long the job then took, less what the run cost; of runs that succeeded"),
    ("lost", "work since the last checkpoint of machines that were taken, moved from or lost"),
    ("set-up", "a machine's time before and after the job's command"),
    ("energy", "by the machine's own meters where it has some, else by how busy it was, with the "
     "coefficients of docs/carbon.md; unknown is counted nowhere"),
    ("month", "the middle of what the month may come to, and where eight of ten such months lie"),
)  # fmt: skip


def _key_figures(report: "Report") -> Iterator[KeyFigure]:
    total = report.total
    runs = count(total.runs, "run")
    if total.open_runs:
        runs += f", {money(total.reserved_usd)} USD held by {total.open_runs} open"
    yield KeyFigure("spent", f"{money(total.spent_usd)} USD", runs)
    saved = total.saved
    known = f"{signed(saved.usd)} USD" if saved.runs else "unknown"
    against = f"against the usual machines, over {count(saved.runs, 'run')}"
    yield KeyFigure("saved", known, against if saved.runs else "nothing to compare with")
    if report.forecast is not None:
        yield KeyFigure(
            "month comes to",
            f"{_usd(report.forecast.p50)} USD",
            f"80%: {_usd(report.forecast.p10)} to {_usd(report.forecast.p90)}",
        )
    carbon = small_too(total.carbon_kgco2e, "kg CO2e") if total.carbon_known else "unknown"
    yield KeyFigure("emitted", carbon, energy_words(total))
    deadlines = deadline_words(total)
    if deadlines is not None:
        yield KeyFigure("deadlines", f"{total.in_time / total.deadlines:.0%}", deadlines)
    costs = report.costs
    if costs.below_p90 is not None and costs.below_p10 is not None and costs.runs >= FEW:
        inside = f"{costs.below_p90 - costs.below_p10:.0%}"
        note = f"within the 80% interval, of {count(costs.runs, 'run')}"
        yield KeyFigure("costs as predicted", inside, note)


def _usd(amount: float | Decimal) -> str:
    return money(round(Decimal(amount), 6))


def _caps(report: "Report") -> Table:
    rows = rows_of(
        [
            {
                "cap": f"{cap.rule} {cap.of}",
                "usd": cap.cap_usd,
                "spent": cap.spent_usd,
                "reserved": cap.reserved_usd,
                "left": cap.left_usd,
                "month": None if cap.forecast is None else cap.forecast.p50,
            }
            for cap in report.caps
        ],
        {
            "cap": "cap",
            "usd": ("USD", _usd),
            "spent": ("spent", _usd),
            "reserved": ("reserved", _usd),
            "left": ("left", _usd),
            "month": ("month may come to", _usd),
        },
    )
    return Table("What is left of the caps", rows)


def _groups(report: "Report") -> Table:
    groups = report.groups
    each = list(groups.values())
    return Table(
        f"By {report.query.by}",
        Rows(
            [
                Words("key", report.query.by, list(groups)),
                Figures("usd", "USD", [t.spent_usd for t in each], money),
                Figures("reserved", "reserved", [t.reserved_usd for t in each], money),
                Figures(
                    "saved", "saved", [t.saved.usd if t.saved.runs else None for t in each], signed
                ),
                Figures(
                    "kwh", "kWh", [t.energy_kwh if t.energy_known else None for t in each], figure
                ),
                Figures(
                    "kg",
                    "kg CO2e",
                    [t.carbon_kgco2e if t.carbon_known else None for t in each],
                    figure,
                ),
                Figures("runs", "runs", [float(t.runs) for t in each], lambda n: f"{n:,.0f}"),
                Figures("failed", "failed USD", [t.uses_usd["failed"] for t in each], money),
            ]
        ),
    )


def _runs(report: "Report") -> Table:
    runs = report.runs[: -_MOST_RUNS - 1 : -1]
    rows = Rows(
        [
            Words("run", "run", [e.run_id for e in runs]),
            Words("at", "reserved (UTC)", [f"{e.at.astimezone(UTC):%Y-%m-%d %H:%M}" for e in runs]),
            Words("job", "job", [e.job for e in runs]),
            Words("user", "user", [e.user for e in runs]),
            Words("project", "project", [e.project for e in runs], "(none)"),
            Words("type", "type", [e.instance_type for e in runs]),
            Words("cloud", "cloud", [e.cloud for e in runs]),
            Words("outcome", "outcome", [e.outcome for e in runs], "open"),
            Figures("usd", "USD", [e.spent_usd for e in runs], money),
            Figures("saved", "saved", [saved_usd(e) for e in runs], signed),
            Figures(
                "hours", "time", [e.hours for e in runs], lambda h: duration(float(h) * 3600)
            ),
            Figures(
                "kwh", "kWh", [e.energy_kwh if e.machine_h else None for e in runs], figure
            ),
        ]
    )  # fmt: skip
    filters = ("job", "user", "project", "type", "cloud", "outcome", "usd")
    left_out = len(report.runs) - len(runs)
    title = "Runs" if not left_out else f"The last {len(runs):,} of {len(report.runs):,} runs"
    return Table(title, rows, filters=filters)
