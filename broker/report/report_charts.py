"""The charts of a report's page: days, the month, where the money went, what was predicted."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mlbroker.broker.report.parts import Chart
from mlbroker.broker.report.report_words import USE_WORDS, spread_words
from mlbroker.broker.report.rows import Figures, Rows, Words, rows_of
from mlbroker.broker.report.specs import Spec, axis, numbers, tooltip
from mlbroker.broker.report.tally import Tally
from mlbroker.broker.words import count, money

if TYPE_CHECKING:
    from mlbroker.broker.report.report import Report

# Groups that are drawn; a table has all of them.
_GROUPS = 12
# Runs whose predictions are drawn: the last ones.
_MARKS = 2000
# Beside the day: what an axis reads as a moment, a tip would show as its milliseconds.
_MOMENT = {"calculate": "toDate(datum.day)", "as": "at"}
_USD = {"format": "$,~r"}


def days_chart(report: "Report") -> Chart | None:
    """What the runs of each day came to; None where nothing was spent."""
    days = report.days
    if len(days) < 2 or not report.total.spent_usd:
        return None
    rows = Rows(
        [
            Words("day", "day", [day.day.isoformat() for day in days]),
            Figures("usd", "USD", [day.usd for day in days], money),
        ]
    )
    spec: Spec = {
        "height": 180,
        "transform": [_MOMENT],
        "mark": {"type": "bar", "color": "--accent"},
        "encoding": {
            "x": {"field": "at", "type": "temporal", "timeUnit": "utcyearmonthdate",
                  "title": None, "axis": {"format": "%-d %b", "labelOverlap": True}},
            "y": {"field": "usd", "type": "quantitative", "title": "USD", "axis": _USD},
            "tooltip": tooltip(rows, ("day", "usd")),
        },
    }  # fmt: skip
    most = max(days, key=lambda day: day.usd)
    described = (
        f"{money(report.total.spent_usd)} USD over {count(len(days), 'day')}; most, "
        f"{money(most.usd)} USD, on {most.day.isoformat()}. A run counts when it is reserved."
    )
    return Chart("Spent by day", spec, rows, described)


def month_chart(report: "Report") -> Chart | None:
    """The sum so far, and where the month may end; None without a forecast, or of no month."""
    forecast, first = report.forecast, report.query.since
    if forecast is None or first.day != 1 or (report.now - first).days > 31:
        return None
    total, rows = Decimal(0), []
    for day in report.days:
        total += day.usd
        rows.append({"day": day.day.isoformat(), "usd": total})
    last = (report.query.until.replace(tzinfo=None)).date().toordinal() - 1
    end = type(report.days[0].day).fromordinal(last).isoformat()
    told = rows_of(rows, {"day": "day", "usd": ("USD so far", money)})
    x: Spec = {"field": "at", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": None,
               "axis": {"format": "%-d %b", "labelOverlap": True}}  # fmt: skip
    y: Spec = {"field": "usd", "type": "quantitative", "title": "USD of the month", "axis": _USD}
    ends = {"values": [{"at": end, "low": forecast.p10, "usd": forecast.p50,
                        "high": forecast.p90}]}  # fmt: skip
    way = {"values": [{"at": rows[-1]["day"], "usd": float(total)},
                      {"at": end, "usd": forecast.p50}]}  # fmt: skip
    layers: list[Spec] = [
        {"transform": [_MOMENT],
         "mark": {"type": "line", "color": "--accent", "interpolate": "step-after"},
         "encoding": {"x": x, "y": y, "tooltip": tooltip(told, ("day", "usd"))}},
        {"data": way, "mark": {"type": "line", "color": "--soft", "strokeDash": [4, 4]},
         "encoding": {"x": x, "y": y}},
        {"data": ends, "mark": {"type": "rule", "color": "--ink", "strokeWidth": 3},
         "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}},
        {"data": ends, "mark": {"type": "point", "filled": True, "size": 70, "color": "--ink"},
         "encoding": {"x": x, "y": y}},
    ]  # fmt: skip
    caps = [cap for cap in report.caps if cap.of == "in total" and cap.whole_month]
    # One far above would flatten all the rest.
    for cap in [cap for cap in caps if cap.cap_usd <= 4 * Decimal(forecast.p90)]:
        line = {"values": [{"usd": float(cap.cap_usd), "text": f"cap {cap.cap_usd:,} USD"}]}
        words = {"type": "text", "align": "left", "baseline": "bottom", "dx": 4, "dy": -3,
                 "color": "--bad"}  # fmt: skip
        layers += [
            {"data": line, "mark": {"type": "rule", "strokeDash": [5, 4], "color": "--bad"},
             "encoding": {"y": y}},
            {"data": line, "mark": words,
             "encoding": {"y": y, "x": {"value": 0}, "text": {"field": "text"}}},
        ]  # fmt: skip
    described = (
        f"{money(total)} USD so far. The month comes to {spread_words(forecast)}, by runs that are "
        "open and the days of the last weeks: the bar at the end is that interval."
    )
    return Chart("What the month comes to", {"height": 240, "layer": layers}, told, described)


def uses_chart(total: Tally) -> Chart | None:
    """What the money bought; None where nothing was spent."""
    parts = [(use, usd) for use, usd in total.uses_usd.items() if usd]
    if not parts:
        return None
    rows = Rows(
        [
            Words("use", "use", [USE_WORDS[use] for use, _ in parts]),
            Figures("usd", "USD", [usd for _, usd in parts], money),
            Figures(
                "share", "share", [usd / total.spent_usd for _, usd in parts], lambda s: f"{s:.0%}"
            ),
        ]
    )
    good = "datum.use === 'useful work'"
    spec: Spec = {
        "height": 26 * len(parts),
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "usd", "type": "quantitative", "title": "USD", "axis": _USD},
            "y": {"field": "use", "type": "nominal", "title": None, "sort": "-x"},
            "color": {"condition": {"test": good, "value": "--accent"}, "value": "--soft"},
            "tooltip": tooltip(rows, ("use", "usd", "share")),
        },
    }
    useful = total.uses_usd["useful"] / total.spent_usd
    described = f"{useful:.0%} of what was spent went into work that counts."
    return Chart("Where the money went", spec, rows, described)


def groups_chart(report: "Report") -> Chart | None:
    """What each group spent, beside what the usual machines had cost for the same runs."""
    groups = list(report.groups.items())[:_GROUPS]
    if len(groups) < 2:
        return None
    records: list[dict[str, Any]] = []
    for key, each in groups:
        records.append({"key": key, "what": "spent", "usd": each.spent_usd})
        if each.saved.runs:
            usd = each.spent_usd + each.saved.usd
            records.append({"key": key, "what": "had cost on usual machines", "usd": usd})
    heads = {"key": report.query.by, "what": "what", "usd": ("USD", money)}
    rows = rows_of(records, heads)
    scale = {"domain": ["spent", "had cost on usual machines"], "range": ["--accent", "--soft"]}
    spec: Spec = {
        "mark": {"type": "bar"},
        "height": 30 * len(groups),
        "encoding": {
            "x": {"field": "usd", "type": "quantitative", "title": "USD", "axis": _USD},
            "y": {"field": "key", "type": "nominal", "title": None, "sort": None},
            "yOffset": {"field": "what", "sort": scale["domain"]},
            "color": {"field": "what", "type": "nominal", "title": None, "scale": scale,
                      "legend": {"orient": "top"}},
            "tooltip": tooltip(rows, ("key", "what", "usd")),
        },
    }  # fmt: skip
    described = (
        f"The {report.query.by} that spent most: {groups[0][0]}, "
        f"{money(groups[0][1].spent_usd)} USD."
    )
    return Chart(f"By {report.query.by}, and what was saved", spec, rows, described)


def predictions_chart(report: "Report") -> Chart | None:
    """What runs cost against what was predicted, with its interval; None where none was."""
    records = []
    for entry in report.runs[-_MARKS:]:
        usd = None if entry.told is None else entry.told.usd
        if entry.succeeded and usd is not None and entry.spent_usd > 0:
            low, likely, high = usd
            inside = "inside" if low <= entry.spent_usd <= high else "outside"
            records.append({"run": entry.run_id, "job": entry.job, "low": low, "likely": likely,
                            "high": high, "usd": entry.spent_usd, "inside": inside})  # fmt: skip
    if not records:
        return None
    heads = {"run": "run", "job": "job", "low": ("10%", money), "likely": ("predicted", money),
             "high": ("90%", money), "usd": ("came to", money), "inside": "interval"}  # fmt: skip
    rows = rows_of(records, heads)
    both = numbers(rows, "likely") + numbers(rows, "usd")
    x = axis("likely", "USD predicted (median, and 10% to 90%)", both, usd=True)
    y = axis("usd", "USD it came to", both, usd=True)
    domain = [min(both), max(both)]
    ends = {"values": [{"likely": end, "usd": end} for end in domain]}
    scale = {"domain": ["inside", "outside"], "range": ["--accent", "--bad"]}
    colour = {"field": "inside", "type": "nominal", "title": "within the interval", "scale": scale}
    layers: list[Spec] = [
        {"data": ends, "mark": {"type": "line", "color": "--soft", "strokeDash": [4, 4]},
         "encoding": {"x": x, "y": y}},
        {"mark": {"type": "rule", "opacity": 0.35},
         "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y, "color": colour}},
        {"mark": {"type": "point", "filled": True, "size": 36},
         "encoding": {"x": x, "y": y, "color": colour,
                      "tooltip": tooltip(rows, ("run", "job", "low", "likely", "high", "usd"))}},
    ]  # fmt: skip
    held = sum(record["inside"] == "inside" for record in records)
    described = (
        f"{held} of the last {count(len(records), 'run')} came to what was predicted, within the "
        "interval that 80% should be in. On the dashed line are those that came to just that."
    )
    return Chart("Predicted and actual cost", {"height": 320, "layer": layers}, rows, described)
