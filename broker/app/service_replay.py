"""What policies for a service's ceiling would have made of a recorded trace of requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.service_terms import (
    above_zero,
    engine_of,
    most_of,
    rps_of,
    service_of,
    tell_of_queue,
    too_little,
)
from mlbroker.broker.backtest.request_trace import read_requests
from mlbroker.broker.backtest.services import compare
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import load_job
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count
from mlbroker.policies.service import POLICIES
from mlbroker.policies.service.interface import (
    HOUR_MS,
    UNBOUNDED,
    UNITS_PER_USD,
    Period,
    Terms,
    nano_usd,
)
from mlbroker.policies.service.periods import DAY_MS, spans_of, utc_month
from mlbroker.policies.service.replay import Engine, Row
from mlbroker.profiles.job import Replicas
from mlbroker.profiles.service import Service

# A trace of up to so many days is one month, whatever the calendar says.
MONTH_DAYS = 31
# Moments after September 2001 are of the calendar; smaller ones count from the trace's beginning.
_CALENDAR_MS = 10**12
_LONGEST_BOOT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ServiceReplayRequest:
    """What the command line asks for. `policies` is empty for all; None is the job file's word."""

    trace: Path
    job: Path
    capacity_rps: float | None
    price_usd_per_h: float | None
    cap_usd: float | None
    boot_s: float
    service: str | None
    policies: Sequence[str]


def replay_service(request: ServiceReplayRequest, listener: Listener) -> dict[str, Any]:
    """The document of `mlbroker replay TRACE JOB --json`.

    InputError for what cannot be, NothingFeasible for a cap below what the least replicas cost.
    """
    for name in request.policies:
        if name not in POLICIES:
            hint = nearest_hint(name, list(POLICIES))
            raise InputError(f"there is no policy {quoted(name)}", where="--policy", hint=hint)
    job = load_job(request.job, needs_folder=False).job
    service, replicas = service_of(job, request.job, "a trace of requests is played on one")
    engine = _engine(request, service, listener)
    price, cap = _price(request), _cap(request, service)
    if service.day_usd is not None:
        listener.warn("the day's budget of the job file is not played: the month's is")
    least, most = _bounds(replicas, service, listener)
    rows = read_requests(request.trace, request.service, listener.warn)
    terms = Terms(nano_usd(price), int(cap * UNITS_PER_USD), _periods(rows), least, most)
    _refuse_too_little(terms, rows, request.job)
    return {
        "schema": "mlbroker.service-replay/1",
        "hours": round(sum(row.span_ms for row in rows) / HOUR_MS, 6),
        "requests": round(sum(row.requests for row in rows), 3),
        "capacity_rps": engine.capacity_rps,
        "price_per_hour_usd": float(price),
        "cap_usd": float(cap),
        "boot_s": request.boot_s,
        "queue_s": engine.queue_s,
        "replicas": {"least": least, "most": None if most == UNBOUNDED else most},
        **compare(rows, engine, terms, request.policies or list(POLICIES)),
    }


def _engine(request: ServiceReplayRequest, service: Service, listener: Listener) -> Engine:
    rps = rps_of(service, request.capacity_rps)
    if not 0 <= request.boot_s < _LONGEST_BOOT_S:
        raise InputError(f"{request.boot_s:g} is not from 0 to a day", where="--boot-s")
    tell_of_queue(service, listener)
    return engine_of(service, rps)._replace(boot_ms=round(request.boot_s * 1000))


def _price(request: ServiceReplayRequest) -> Decimal:
    price = request.price_usd_per_h
    if price is None:
        raise InputError(
            "what an hour of a replica costs is not said",
            where="--price-per-hour-usd",
            hint="`mlbroker plan` of the job file names the cheapest machine and its price",
        )
    above_zero("--price-per-hour-usd", price)
    return Decimal(repr(price))


def _cap(request: ServiceReplayRequest, service: Service) -> Decimal:
    if request.cap_usd is not None:
        above_zero("--cap-usd", request.cap_usd)
        return Decimal(repr(request.cap_usd))
    if service.month_usd is None:
        hint = "or `broker: {service: {budget: {month: 500 USD}}}` in the job file"
        raise InputError("what a month may cost is not said", where="--cap-usd", hint=hint)
    return service.month_usd


def _bounds(replicas: Replicas, service: Service, listener: Listener) -> tuple[int, int]:
    """The fewest and the most replicas that the engine has by itself."""
    if not service.scales:
        listener.warn(
            f"the job file fixes {count(replicas.least, 'replica')}: no ceiling changes anything"
        )
    elif service.most is None:
        listener.warn(
            "the job file names no max_replicas, and SkyServe would not scale:"
            f" played from {replicas.least} upward without a maximum"
        )
    return replicas.least, most_of(service, replicas)


def _periods(rows: Sequence[Row]) -> Callable[[int], Period]:
    """The months of a trace: one, where it is no longer; of the calendar, where it has dates."""
    start_ms, length_ms = rows[0].start_ms, sum(row.span_ms for row in rows)
    if length_ms <= MONTH_DAYS * DAY_MS:
        return spans_of(length_ms, start_ms)
    return utc_month if start_ms >= _CALENDAR_MS else spans_of(30 * DAY_MS, start_ms)


def _refuse_too_little(terms: Terms, rows: Sequence[Row], job: Path) -> None:
    """A cap that even the fewest replicas break."""
    start_ms, end_ms = rows[0].start_ms, rows[-1].start_ms + rows[-1].span_ms
    least_cap, at_ms = 0, start_ms
    while at_ms < end_ms:
        period = terms.period_of(at_ms)
        least_cap = max(least_cap, terms.least_cap(Period(at_ms, period.end_ms)))
        at_ms = period.end_ms
    if terms.cap < least_cap:
        raise too_little(terms.least, least_cap, terms.cap, job)
