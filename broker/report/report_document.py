"""The report as a document: schema `mlbroker.report/1` (see `mlbroker schema report`)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mlbroker.broker.report.entries import Entry
from mlbroker.broker.report.tally import Calibration, Tally, saved_usd
from mlbroker.broker.words import exact_usd, exact_usd_or_none, utc_second
from mlbroker.policies.spend_forecast import Spread

if TYPE_CHECKING:
    from mlbroker.broker.report.own_machines import NodeUse
    from mlbroker.broker.report.report import Report
    from mlbroker.policies.alerts import Alert, CapState

SCHEMA = "mlbroker.report/1"
Document = dict[str, Any]


def report_document(report: "Report", alerts: "Sequence[Alert]") -> Document:
    """All of it; money as decimal strings, what nobody knows as null."""
    return {
        "schema": SCHEMA,
        "generated_at": utc_second(report.now),
        "since": utc_second(report.query.since),
        "until": utc_second(report.query.until),
        "by": report.query.by,
        "total": tally_document(report.total),
        "groups": [{"key": key} | tally_document(each) for key, each in report.groups.items()],
        "days": [{"day": day.day.isoformat(), "spent_usd": _usd(day.usd)} for day in report.days],
        "prediction": {
            "duration": _calibration(report.times),
            "cost": _calibration(report.costs),
        },
        "nodes": [_node(node) for node in report.nodes],
        "forecast_usd": _spread(report.forecast),
        "caps": [_cap(cap) for cap in report.caps],
        "alerts": [asdict(alert) for alert in alerts],
    }


def tally_document(tally: Tally) -> Document:
    """Sums over some runs. Energy and carbon are null where no run's are known."""
    saved = tally.saved
    return {
        "runs": tally.runs,
        "open_runs": tally.open_runs,
        "succeeded": tally.succeeded,
        "spent_usd": _usd(tally.spent_usd),
        "reserved_usd": _usd(tally.reserved_usd),
        "uses_usd": {use: _usd(usd) for use, usd in tally.uses_usd.items()},
        "machine_h": round(tally.machine_h, 6),
        "useful_h": round(tally.useful_h, 6),
        "energy_kwh": tally.energy_kwh if tally.energy_known else None,
        "energy_unknown_runs": tally.with_machine - tally.energy_known,
        "carbon_kgco2e": tally.carbon_kgco2e if tally.carbon_known else None,
        "carbon_unknown_runs": tally.with_machine - tally.carbon_known,
        "saved": {
            "runs": saved.runs,
            "usd": _usd(saved.usd) if saved.runs else None,
            "baseline_usd": _usd(saved.baseline_usd) if saved.runs else None,
            "hours": round(saved.hours, 6) if saved.runs else None,
            "energy_kwh": saved.energy_kwh if saved.energy_known else None,
            "carbon_kgco2e": saved.carbon_kgco2e if saved.carbon_known else None,
        },
        "deadlines": {
            "runs": tally.deadlines,
            "in_time": tally.in_time,
            "expected_in_time": tally.expected_in_time if tally.expectations else None,
        },
    }


# Of a run's row, in order: a table without runs has them too.
RUN_COLUMNS = (
    "run_id",
    "reserved_at",
    "job",
    "user",
    "project",
    "cloud",
    "region",
    "instance_type",
    "market",
    "attempts",
    "outcome",
    "spent_usd",
    "reserved_usd",
    "predicted_p10_usd",
    "predicted_p50_usd",
    "predicted_p90_usd",
    "hours",
    "predicted_p50_h",
    "basis",
    "deadline_at",
    "in_time",
    "baseline_usd",
    "saved_usd",
    "energy_kwh",
    "carbon_kgco2e",
    "useful_h",
    "setup_h",
    "unused_h",
    "lost_h",
)


def run_rows(runs: Sequence[Entry]) -> Iterator[Document]:
    """One row a run, for tables: `RUN_COLUMNS` in each."""
    for entry in runs:
        told = entry.told
        usd = (None,) * 3 if told is None else told.usd or (None, told.expected_usd, told.p90_usd)
        low, likely, high = map(exact_usd_or_none, usd)
        yield {
            "run_id": entry.run_id,
            "reserved_at": utc_second(entry.reserved_at),
            "job": entry.job,
            "user": entry.user,
            "project": entry.project,
            "cloud": entry.cloud,
            "region": entry.region,
            "instance_type": entry.instance_type,
            "market": entry.market,
            "attempts": entry.attempts,
            "outcome": entry.outcome,
            "spent_usd": _usd(entry.spent_usd),
            "reserved_usd": _usd(entry.held_usd),
            "predicted_p10_usd": low,
            "predicted_p50_usd": likely,
            "predicted_p90_usd": high,
            "hours": entry.hours,
            "predicted_p50_h": None if told is None else told.hours[1],
            "basis": None if told is None else told.basis,
            "deadline_at": None if entry.deadline_at is None else utc_second(entry.deadline_at),
            "in_time": entry.in_time,
            "baseline_usd": None if entry.baseline is None else exact_usd(entry.baseline.usd),
            "saved_usd": exact_usd_or_none(saved_usd(entry)),
            "energy_kwh": entry.energy_kwh if entry.machine_h else None,
            "carbon_kgco2e": entry.carbon_kgco2e if entry.machine_h else None,
            **{f"{use}_h": entry.uses_h.get(use) for use in ("useful", "setup", "unused", "lost")},
        }


def _calibration(found: Calibration) -> Document:
    return asdict(found)


def _node(node: "NodeUse") -> Document:
    return {
        "name": node.name,
        "runs": node.runs,
        "capacity_h": round(node.capacity_h, 3),
        "machine_h": round(node.machine_h, 6),
        "useful_h": round(node.useful_h, 6),
        "used": node.used,
        "priced_usd": _usd(node.priced_usd),
        "true_usd": None if node.true_usd is None else _usd(node.true_usd),
        "usd_per_useful_hour": (
            None if node.usd_per_useful_hour is None else _usd(node.usd_per_useful_hour)
        ),
        "compared_runs": node.compared,
        "compared_usd": _usd(node.compared_usd) if node.compared else None,
        "rented_usd": _usd(node.rented_usd) if node.compared else None,
        "idle_h": round(node.idle_h, 3),
        "idle_usd": None if node.idle_usd is None else _usd(node.idle_usd),
        "captured_usd": _usd(node.captured_usd),
        "avoidable_runs": node.avoidable,
        "avoidable_captured_usd": _usd(node.avoidable_usd),
        "avoidable_rented_usd": _usd(node.elsewhere_usd),
    }


def _cap(cap: "CapState") -> Document:
    return {
        "rule": cap.rule,
        "of": cap.of,
        "cap_usd": exact_usd(cap.cap_usd),
        "spent_usd": _usd(cap.spent_usd),
        "reserved_usd": _usd(cap.reserved_usd),
        "left_usd": _usd(cap.left_usd),
        "forecast_usd": _spread(cap.forecast),
    }


def _spread(spread: Spread | None) -> Mapping[str, float] | None:
    if spread is None:
        return None
    return {name: round(usd, 6) for name, usd in asdict(spread).items()}


def _usd(amount: Decimal) -> str:
    """To the nano-dollar: sums of parts hold no digit more than the books."""
    return exact_usd(round(amount, 9))
