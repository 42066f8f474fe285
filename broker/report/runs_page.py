"""The runs as a page: those under way with what their machines say, then the settled ones."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mlbroker.broker.report.page import Served, page
from mlbroker.broker.report.parts import KeyFigure, KeyFigures, Part, Prose, Table
from mlbroker.broker.report.rows import rows_of
from mlbroker.broker.report.tally import tally
from mlbroker.broker.words import count, duration, money

if TYPE_CHECKING:
    from mlbroker.broker.report.entries import Entry
    from mlbroker.policies.alerts import Alert

# Settled runs that are listed: a report has all of a month.
_SETTLED = 500
Live = Mapping[str, Mapping[str, Any]]


def runs_page(
    runs: "Sequence[Entry]", live: Live, alerts: "Sequence[Alert]", now: datetime, served: Served
) -> str:
    """The page; `live` has what `ps` shows of the runs whose machines were asked."""
    open_runs = [entry for entry in runs if entry.open]
    settled = [entry for entry in runs if not entry.open][: -_SETTLED - 1 : -1]
    total = tally(open_runs)
    held = f"{money(total.reserved_usd)} USD reserved"
    figures = [KeyFigure("under way", count(len(open_runs), "run"), held)]
    parts: list[Part] = [KeyFigures(figures)]
    if alerts:
        parts.append(Prose([alert.text for alert in alerts], title="Alerts", strong=True))
    if open_runs:
        records = [_open(entry, live.get(entry.run_id, {})) for entry in open_runs[::-1]]
        parts.append(Table("Under way", rows_of(records, _OPEN_HEADS)))
    if settled:
        filters = ("job", "user", "project", "type", "outcome")
        rows = rows_of([_settled(entry) for entry in settled], _SETTLED_HEADS)
        parts.append(Table("Settled", rows, filters=filters))
    if not runs:
        parts.append(Prose("There are no runs yet.", strong=True))
    return page(f"Runs, {now:%Y-%m-%d %H:%M} UTC", parts, served)


_RUN = {"run": "run", "job": "job", "user": "user", "project": "project", "type": "type"}
_OPEN_HEADS = _RUN | {
    "state": "state",
    "progress": "steps",
    "usd": ("USD so far", money),
    "cap": ("cap", money),
    "ends": "ended by (UTC)",
}
_SETTLED_HEADS = _RUN | {
    "at": "reserved (UTC)",
    "outcome": "outcome",
    "usd": ("USD", money),
    "hours": ("time", lambda hours: duration(float(hours) * 3600)),
}


def _run(entry: "Entry") -> dict[str, Any]:
    return {
        "run": entry.run_id,
        "job": entry.job,
        "user": entry.user,
        "project": entry.project or "(none)",
        "type": entry.instance_type,
    }


def _open(entry: "Entry", told: Mapping[str, Any]) -> dict[str, Any]:
    step, steps = told.get("step"), told.get("steps")
    state = told.get("phase") or told.get("state") or "not asked yet"
    return _run(entry) | {
        "state": f"{state} (unattended)" if told.get("unattended") else state,
        "progress": "-" if step is None else f"{step} of {steps or '?'}",
        "usd": Decimal(told.get("spent_usd", entry.spent_usd)),
        "cap": entry.cap_usd,
        "ends": "-" if entry.kill_at is None else f"{entry.kill_at:%Y-%m-%d %H:%M}",
    }


def _settled(entry: "Entry") -> dict[str, Any]:
    return _run(entry) | {
        "at": f"{entry.at:%Y-%m-%d %H:%M}",
        "outcome": entry.outcome,
        "usd": entry.spent_usd,
        "hours": entry.hours,
    }
