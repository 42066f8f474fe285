"""Plays the policies for a service's ceiling on recorded traces, into docs/benchmarks.md."""

import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from markers import replace_block, table

from mlbroker.broker.backtest.request_trace import read_requests
from mlbroker.broker.backtest.services import compare
from mlbroker.policies.service import POLICIES
from mlbroker.policies.service.interface import UNBOUNDED, Terms
from mlbroker.policies.service.periods import DAY_MS, spans_of
from mlbroker.policies.service.replay import LOOK_MS, Engine, Row, play
from mlbroker.policies.service.surge import SurgeWatch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
EVAL = Path(os.environ.get("MLBROKER_EVAL", ROOT.parent / "shared" / "data" / "eval")) / "service"
MEAN_REPLICAS = 20.0
NANO_USD_PER_H = 10**9
SURGE = 20.0
SURGE_DAYS = 3
TIGHT, AMPLE, OF_ORDINARY = 0.7, 1.3, 1.6


class Case(NamedTuple):
    """A trace under a cap; `kind` decides which targets hold."""

    trace: str
    kind: str
    rows: Sequence[Row]
    engine: Engine
    terms: Terms


def traces() -> Iterator[tuple[str, list[Row]]]:
    """Name and rows; the month by the hour is composed of a day's total and the usual hours."""
    rates = EVAL / "rates_servegen_10min.csv.gz"
    for service in ("m-large", "m-small"):
        yield service, read_requests(rates, service, print)
    yield "burstgpt", _month()
    for name in ("azure2023_conv", "mooncake_conversation"):
        yield name, read_requests(EVAL / f"requests_{name}.csv.gz", None, print)


def _month() -> list[Row]:
    with (EVAL / "rates_burstgpt_daily.csv").open() as file:
        days = [float(row["requests"]) for row in csv.DictReader(file)]
    with (EVAL / "rates_burstgpt_hour_of_day.csv").open() as file:
        hours = [float(row["requests_per_hour"]) for row in csv.DictReader(file)]
    step = DAY_MS // 24
    return [
        Row((24 * day + hour) * step, step, total * share / sum(hours))
        for day, total in enumerate(days)
        for hour, share in enumerate(hours)
    ]


def surging(rows: Sequence[Row], from_ms: int, length_ms: int) -> list[Row]:
    """The same with twenty times the requests for a while."""
    first_ms = rows[0].start_ms
    return [
        row._replace(requests=row.requests * SURGE)
        if from_ms <= row.start_ms - first_ms < from_ms + length_ms
        else row
        for row in rows
    ]


def cases() -> Iterator[Case]:
    """A tight cap and one that suffices for each trace; surges where it is a week or more."""
    for name, rows in traces():
        span_ms = sum(row.span_ms for row in rows)
        mean_rps = sum(row.requests for row in rows) / span_ms * 1000
        engine = Engine(mean_rps / MEAN_REPLICAS)
        period_of = spans_of(span_ms, rows[0].start_ms)
        open_ = Terms(NANO_USD_PER_H, UNBOUNDED * NANO_USD_PER_H * span_ms, period_of)
        ordinary = play(rows, engine, open_, POLICIES["none"](open_)).all_spent

        def capped(share: float, of: int = ordinary, terms: Terms = open_) -> Terms:
            return terms._replace(cap=int(share * of))

        yield Case(name, "tight", rows, engine, capped(TIGHT))
        yield Case(name, "suffices", rows, engine, capped(AMPLE))
        if span_ms >= 7 * DAY_MS:
            for day in (2, 4, 9):
                surged = surging(rows, day * DAY_MS, SURGE_DAYS * DAY_MS)
                yield Case(name, f"surge, day {day}", surged, engine, capped(OF_ORDINARY))


def played(case: Case) -> dict[str, Any]:
    """All policies' figures and the bound."""
    return compare(case.rows, case.engine, case.terms, list(POLICIES))


def told_of_surges(rows: Sequence[Row]) -> list[float]:
    """When surges were told of, in seconds from the trace's beginning."""
    watch, found = SurgeWatch(), []
    for row in rows:
        parts = -(-row.span_ms // LOOK_MS)
        span_s = row.span_ms / parts / 1000
        for part in range(parts):
            before = watch.since_s
            now_s = row.start_ms / 1000 + (part + 1) * span_s
            watch.look(now_s, row.requests / row.span_ms * 1000, span_s)
            if before is None and watch.since_s is not None:
                found.append(now_s - rows[0].start_ms / 1000)
    return found


def is_surge(rows: Sequence[Row], at_s: float) -> bool:
    """Whether the day from here has three times the requests of the median day before."""
    first_ms = rows[0].start_ms
    days: dict[int, float] = {}
    for row in rows:
        day = int((row.start_ms - first_ms - at_s * 1000) // DAY_MS)
        days[day] = days.get(day, 0.0) + row.requests
    before = sorted(total for day, total in days.items() if day < 0)
    return bool(before) and days.get(0, 0.0) >= 3 * before[len(before) // 2]


def surges_seen() -> tuple[list[list[str]], list[str]]:
    """For each long trace: false alarms, and how soon a surge is seen that begins at any hour."""
    lines, missed = [], []
    for name, rows in traces():
        span_ms = sum(row.span_ms for row in rows)
        if span_ms < 7 * DAY_MS:
            continue
        months = span_ms / (30 * DAY_MS)
        alarms = told_of_surges(rows)
        false = sum(not is_surge(rows, at_s) for at_s in alarms)
        delays = []
        for hour in range(24 * 8, 24 * 10, 3):
            begins_s = hour * 3600.0
            if any(begins_s - 86_400 < at <= begins_s for at in alarms):
                continue  # one is on already
            found = told_of_surges(surging(rows, round(begins_s * 1000), DAY_MS))
            after = [at - begins_s for at in found if 0 < at - begins_s < 3600]
            delays.append(min(after, default=float("inf")))
        late = sum(delay > 600 for delay in delays)
        lines.append(
            [name, f"{false / months:.1f}", f"{len(delays) - late} of {len(delays)}",
             f"{sorted(delays)[len(delays) // 2]:.0f}"]
        )  # fmt: skip
        if false / months > 1:
            missed.append(f"{name}: {false / months:.1f} false alarms a month, at most 1")
        if late:
            missed.append(f"{name}: {late} of {len(delays)} surges not seen in 10 minutes")
    return lines, missed


def missed_of(case: Case, told: dict[str, Any]) -> Iterator[str]:
    """The targets that `auto` misses."""
    auto, bound = told["summary"]["auto"], told["bound"]["served_in_time"]
    where = f"{case.trace}, {case.kind}"
    if auto["overspend_usd"]:
        yield f"{where}: {auto['overspend_usd']} USD over the cap"
    if auto["dark_hours"]:
        yield f"{where}: {auto['dark_hours']:.1f} dark hours"
    share = auto["served_in_time"] / bound
    least = {"tight": 0.97, "suffices": 0.0}.get(case.kind, 0.9)
    if share < least:
        yield f"{where}: {share:.3f} of the bound, at least {least:g}"
    throttled = told["summary"]["none"]["served_in_time"] - auto["served_in_time"]
    if case.kind == "suffices" and throttled > 0.001:
        yield f"{where}: {100 * throttled:.2f} points turned away falsely, at most 0.1"


def main() -> int:
    """All policies on all traces, onto the page; 1 where a target is missed."""
    began = time.perf_counter()
    if not EVAL.exists():
        print(f"{EVAL} is not there: nothing to play")
        return 0
    rows, missed = [], []
    every = list(cases())
    with ProcessPoolExecutor(2) as pool:
        for case, told in zip(every, pool.map(played, every), strict=True):
            bound = told["bound"]["served_in_time"]
            for policy, row in told["summary"].items():
                rows.append(
                    [
                        f"{case.trace}, {case.kind}",
                        policy,
                        f"{row['spend_over_cap']:.3f}",
                        f"{row['served_in_time']:.3f}",
                        f"{row['served_in_time'] / bound:.3f}",
                        f"{row['dark_hours']:.1f}",
                    ]
                )
                print("  ".join(rows[-1]), flush=True)
            missed += missed_of(case, told)
    seen, late = surges_seen()
    missed += late
    said = "All targets are reached." if not missed else f"Missed: {'; '.join(missed)}."
    head = ["trace and cap", "policy", "spend over cap", "in time", "of the bound", "dark hours"]
    surges = ["trace", "false alarms a month", "surges seen in 10 min", "median, s"]
    text = (
        f"{table(head, rows)}\n\n{table(surges, seen)}\n\n{said}\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, Python {sys.version.split()[0]}, "
        f"{time.perf_counter() - began:.0f} s in all; `make bench-service` measures them anew."
    )
    print(said)
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), "service", text), "utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
