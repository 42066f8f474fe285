"""Services for tests: a month of requests that rises by day, and the terms of a small one."""

import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import product

from mlbroker.policies.service.fleet import Limits, Option
from mlbroker.policies.service.interface import HOUR_MS, UNITS_PER_USD, Period, Terms
from mlbroker.policies.service.mixed_replay import Group, Trace
from mlbroker.policies.service.periods import spans_of
from mlbroker.policies.service.replay import Engine, Row
from mlbroker.pricing.offer import Market

USD_PER_H = 1
STEP_MS = 600_000
ENGINE = Engine(capacity_rps=10.0)


def days_of_requests(
    days: int,
    seed: int = 1,
    mean_rps: float = 200.0,
    factor: Callable[[float], float] = lambda day: 1.0,
) -> list[Row]:
    """Rows of ten minutes: twice as many at noon as at midnight on average, with some noise."""
    lots = random.Random(seed)
    rows = []
    for at in range(days * 144):
        day = at / 144
        wave = 1 + 0.35 * math.sin(2 * math.pi * (day - 0.3))
        rate = mean_rps * wave * math.exp(lots.gauss(0, 0.1)) * factor(day)
        rows.append(Row(at * STEP_MS, STEP_MS, rate * STEP_MS / 1000))
    return rows


def terms_of(rows: Sequence[Row], cap_usd: float, least: int = 1, most: int = 10**6) -> Terms:
    """One dollar an hour; the trace is one month."""
    length_ms = sum(row.span_ms for row in rows)
    period_of: Callable[[int], Period] = spans_of(length_ms, rows[0].start_ms)
    return Terms(USD_PER_H * 10**9, int(cap_usd * UNITS_PER_USD), period_of, least, most)


def replica_hours(rows: Sequence[Row]) -> float:
    """What the requests need at least, on one replica after the other."""
    work_s = sum(row.requests for row in rows) / ENGINE.capacity_rps
    return work_s / 3600


def hours(rows: Sequence[Row]) -> float:
    """How long the trace is."""
    return sum(row.span_ms for row in rows) / HOUR_MS


def cheapest_by_hand(options: Sequence[Option], trace: Trace, limits: Limits) -> float:
    """USD an hour of the best fleet, all of them tried: a few types and replicas only."""
    spans = [range(math.ceil(trace.peak_rps / each.rps) + 1) for each in options]
    best = math.inf
    for counts in product(*spans):
        base_rps = sum(n * each.rps for n, each in zip(counts, options, strict=True))
        base_usd = sum(n * float(each.usd_per_h) for n, each in zip(counts, options, strict=True))
        for peak in options:
            least = max(limits.least - sum(counts), 0)
            useful = math.ceil((trace.peak_rps - base_rps) / peak.rps)
            most = min(max(least, useful), limits.most - sum(counts))
            for number in range(least, most + 1):
                # More that follow the load never cost less.
                if base_usd >= best:
                    break
                outcome = trace.play(Group(base_rps, peak.rps, least, number))
                if outcome.served >= limits.share:
                    hours = outcome.replica_ms / trace.length_ms
                    best = min(best, base_usd + float(peak.usd_per_h) * hours)
                    break
    return best


def some_options(lots: random.Random, count: int, largest: float = 16.0) -> list[Option]:
    """Machine types at one place; the larger ones mostly cost a little less a request."""
    found = []
    for number in range(count):
        size = largest ** lots.random()
        usd = 0.05 * size ** lots.uniform(0.8, 1.05) * math.exp(lots.gauss(0, 0.15))
        rps = 2 * size * math.exp(lots.gauss(0, 0.2))
        price = Decimal(f"{usd:.4f}")
        found.append(Option(f"t{number}", "aws", "us-east-1", Market.ON_DEMAND, price, rps))
    return found
