"""The report's figures in words, shared by terminal and page."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.broker.report.tally import Calibration, Saved, Tally
from mlbroker.broker.words import count, figure, money, span
from mlbroker.policies.spend_forecast import Spread

if TYPE_CHECKING:
    from mlbroker.broker.report.own_machines import NodeUse
    from mlbroker.broker.report.report import Report
    from mlbroker.policies.alerts import CapState

# Fewer runs tell nothing about an interval.
FEW = 5
USE_WORDS = {
    "useful": "useful work",
    "setup": "set-up",
    "unused": "idle",
    "lost": "lost with machines",
    "unknown": "unknown",
    "failed": "runs that failed",
    "profiling": "profiling",
    "open": "still open",
}


def period_words(report: "Report") -> str:
    """Which period it is of: `2026-11 (UTC), until 29 November 04:05`."""
    begin, end = report.query.since, report.query.until
    whole_month = begin.day == 1 and begin.hour == begin.minute == 0 and end.day == 1
    name = f"{begin:%Y-%m} (UTC)" if whole_month else f"{begin:%Y-%m-%d %H:%M} UTC on"
    return f"{name}, until {report.now:%d %B %H:%M}" if report.partial else name


def saved_words(saved: Saved) -> str:
    """Against the usual machine; what of it is known."""
    if not saved.runs:
        return "unknown: no run that succeeded has a usual machine to compare with"
    share = f" ({saved.usd / saved.baseline_usd:.0%})" if saved.baseline_usd else ""
    words = f"{signed(saved.usd)} USD{share} against the usual machines"
    parts = [f"{span(abs(saved.hours) * 3600)} {'sooner' if saved.hours >= 0 else 'later'}"]
    if saved.energy_known:
        parts.append(_less(saved.energy_kwh, "kWh"))
    if saved.carbon_known:
        less = _less(saved.carbon_kgco2e, "kg CO2e")
        parts.append(f"{less} (of {count(saved.carbon_known, 'run')})")
    return f"{words}, {', '.join(parts)}, over {count(saved.runs, 'run')}"


def _less(amount: float, unit: str) -> str:
    return f"{small_too(abs(amount), unit)} {'less' if amount >= 0 else 'more'}"


def signed(amount: Decimal) -> str:
    """More than it would have cost has a minus."""
    return f"-{money(-amount)}" if amount < 0 else money(amount)


def energy_words(total: Tally) -> str:
    """What was drawn, and of how many runs nobody knows."""
    if not total.with_machine:
        return "nothing ran"
    parts = [
        _known(total.energy_kwh, "kWh", total.energy_known, total.with_machine),
        _known(total.carbon_kgco2e, "kg CO2e", total.carbon_known, total.with_machine),
    ]
    return ", ".join(parts)


def _known(amount: float, unit: str, known: int, of: int) -> str:
    if not known:
        return f"{unit} unknown"
    rest = "" if known == of else f" (unknown of {count(of - known, 'run')})"
    return f"{small_too(amount, unit)}{rest}"


def small_too(amount: float, unit: str) -> str:
    """Of a small job in Wh or g: 0.0000079 kWh tells nobody anything."""
    if 0 < abs(amount) < 0.1:
        return f"{figure(amount * 1000)} {unit.removeprefix('k')}"
    return f"{figure(amount)} {unit}"


def uses_words(total: Tally) -> str:
    """Where the money went, the largest part first, as shares."""
    parts = [(usd, USE_WORDS[use]) for use, usd in total.uses_usd.items() if usd]
    if not parts:
        return "nothing was spent"
    parts.sort(key=lambda part: -part[0])
    return ", ".join(f"{name} {usd / total.spent_usd:.0%}" for usd, name in parts)


def deadline_words(total: Tally) -> str | None:
    """How many met theirs, against what was expected; None where none has one."""
    if not total.deadlines:
        return None
    words = f"{total.in_time} of {total.deadlines} met"
    if total.expectations == total.deadlines:
        words += f" ({total.expected_in_time:.1f} were expected)"
    return words


def calibration_words(times: Calibration, costs: Calibration) -> str | None:
    """How well predictions held; None where there is none to hold."""
    parts = []
    for found, what in ((times, "time"), (costs, "cost")):
        if found.below_p90 is not None and found.below_p10 is not None:
            inside = found.below_p90 - found.below_p10
            ratio = "" if found.median_ratio is None else f", median {found.median_ratio:.2f} x"
            runs = count(found.runs, "run")
            parts.append(f"{what} within its 80% interval in {inside:.0%} of {runs}{ratio}")
            if found.runs < FEW:
                parts[-1] = f"{what}: too few runs to tell ({found.runs})"
    return "; ".join(parts) or None


def spread_words(spread: Spread) -> str:
    """A forecast with its interval."""
    low, likely, high = (money(Decimal(str(round(usd, 6)))) for usd in _values(spread))
    return f"{likely} USD (80%: {low} to {high})"


def _values(spread: Spread) -> tuple[float, float, float]:
    return spread.p10, spread.p50, spread.p90


def cap_words(cap: "CapState") -> str:
    """What is left of a cap."""
    words = f"{cap.rule} {cap.of}: {money(cap.left_usd)} of {cap.cap_usd} USD left"
    if cap.forecast is not None:
        words += f", the month may come to {money(Decimal(str(round(cap.forecast.p50, 6))))}"
    return words


def node_words(node: "NodeUse") -> Iterator[str]:
    """A node's use, and whether it pays."""
    yield (
        f"{node.name}: {node.machine_h:.1f} of {node.capacity_h:,.0f} h used ({node.used:.1%}), "
        f"{node.useful_h:.1f} h useful, in {count(node.runs, 'run')}"
    )
    if node.usd_per_useful_hour is not None:
        how = "charged" if node.true_usd is None else "it cost, used or not"
        cost = node.priced_usd if node.true_usd is None else node.true_usd
        yield f"  {money(cost)} USD {how}: {money(node.usd_per_useful_hour)} USD a useful hour"
    idle = f"  idle {node.idle_h:,.1f} h"
    if node.idle_usd is not None:
        yield f"{idle}, which cost {money(node.idle_usd)} USD"
    elif node.idle_h:
        yield f"{idle}; what that cost is unknown: the nodes file has no `cost:`"
    if node.captured_usd:
        words = f"  others waited for its places meanwhile: {money(node.captured_usd)} USD"
        if node.avoidable:
            words += (
                f"; {money(node.avoidable_usd)} of it for {count(node.avoidable, 'run')} that had "
                f"cost {money(node.elsewhere_usd)} for rent"
            )
        yield words
    if node.compared:
        yield (
            f"  {count(node.compared, 'run')} charged {money(node.compared_usd)} USD had cost "
            f"{money(node.rented_usd)} USD for rent{_pays(node)}"
        )


def _pays(node: "NodeUse") -> str:
    if node.true_usd is None or node.compared < node.runs or not node.rented_usd:
        return ""
    if node.true_usd <= node.rented_usd:
        return ": it pays"
    return f": it pays from {node.true_usd / node.rented_usd:.1f} times the use on"
