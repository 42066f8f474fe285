"""What a month's budget pays for, as the settings of the engine that runs a service."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.app.export import Exported, chosen_of, headed
from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import Planned
from mlbroker.broker.app.service_terms import (
    above_zero,
    most_of,
    queue_s_of,
    rps_of,
    service_of,
    tell_of_queue,
    too_little,
)
from mlbroker.broker.engines import exporter
from mlbroker.broker.engines.interface import Ceiling
from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.capacities import capacities_of, nearest_capacity
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.files.other_tools import writer
from mlbroker.broker.files.other_tools.interface import Chosen
from mlbroker.broker.words import count, money
from mlbroker.policies.service.ceiling import safe_ceiling
from mlbroker.policies.service.interface import UNBOUNDED, UNITS_PER_USD, Period, Terms, nano_usd
from mlbroker.policies.service.periods import DAY_MS, spans_of, utc_day, utc_month
from mlbroker.profiles.job import Job, Replicas
from mlbroker.profiles.service import Service

# No month is longer: what it pays for, each month does.
_MONTH_DAYS = 31
_EXAMPLE = "broker: {service: {budget: {month: 500 USD}}}"


@dataclass(frozen=True, slots=True)
class ServiceExportRequest:
    """What the command line asks for; None is the job file's word, and the plan's.

    `spent_usd` of the month is gone at the moment `now_ms`; None: the month begins.
    """

    job: Job
    path: Path
    to: str
    into: Path
    capacity_rps: float | None
    price_usd_per_h: float | None
    month_usd: Decimal | None
    spent_usd: float | None
    now_ms: int


class _Budget(NamedTuple):
    """`terms.cap` for each period, of which `spent` is gone at `now_ms`; `span` says until when."""

    terms: Terms
    spent: int
    now_ms: int
    span: str


def export_service(
    request: ServiceExportRequest,
    make_plan: Callable[[], Planned],
    state: Path,
    listener: Listener,
) -> Exported:
    """The engine's file, with the ceiling that nothing has to watch.

    A plan is made where no price is told. Raises InputError for what is not said, NothingFeasible
    for a budget that the fewest replicas break, and where the plan chose nothing.
    """
    service, replicas = service_of(request.job, request.path, f"{request.to} runs one")
    _check(request, service)
    chosen = None if request.price_usd_per_h else chosen_of(make_plan(), request.into)
    known = nearest_capacity(
        capacities_of(request.job, MeasurementStore(state).for_job(request.job)),
        None if chosen is None else chosen.quote.instance_type,
    )
    rps = rps_of(service, request.capacity_rps, known and float(f"{known.low_rps:.4g}"))
    tell_of_queue(service, listener)
    queue = max(int(rps * queue_s_of(service) + 1e-9), 1)
    price = chosen.quote.hourly_usd if chosen else Decimal(repr(request.price_usd_per_h))
    most = _most(request, service, replicas)
    budgets = _budgets(request, service, Terms(nano_usd(price), 0, utc_month, replicas.least))
    paid = min(_paid(each, request.path) for each in budgets)
    ceiling = Ceiling(replicas.least, min(paid, most), rps, queue)
    made = exporter(request.to).export(request.job, ceiling)
    comment = (
        f"# From {replicas.least} to {ceiling.most} replicas, by mlbroker export: the budget pays"
        f" for {paid} {' and '.join(each.span for each in budgets)},"
        f" at {money(price)} USD an hour each.\n"
    )
    notes = [*made.notes, *_notes(request, service, chosen, ceiling)]
    if known is not None and request.capacity_rps is None:
        notes.append(f"{rps:g} requests a second are what was measured on {known.config}")
    task = ""
    if request.to == "skyserve":
        task, more = _task(request.job, chosen)
        notes += more
    return Exported(headed(task + made.text, comment), tuple(notes))


def _most(request: ServiceExportRequest, service: Service, replicas: Replicas) -> int:
    """How many its own file allows."""
    most = most_of(service, replicas)
    if most == 0:
        raise InputError("lets no replica run: there is nothing to export", where=str(request.path))
    return most


def _check(request: ServiceExportRequest, service: Service) -> None:
    if request.price_usd_per_h is not None:
        above_zero("--price-per-hour-usd", request.price_usd_per_h)
    if request.month_usd is None and service.month_usd is None and service.day_usd is None:
        raise InputError("what a month may cost is not said", where=str(request.path),
                         hint=f"write `{_EXAMPLE}` there, or give --budget")  # fmt: skip
    if request.spent_usd is not None:
        if not 0 <= request.spent_usd < UNBOUNDED:
            raise InputError(f"{request.spent_usd:g} is no amount of money", where="--spent-usd")
        if request.month_usd is None and service.month_usd is None:
            raise InputError("has no effect without a month's budget", where="--spent-usd")


def _budgets(request: ServiceExportRequest, service: Service, terms: Terms) -> list[_Budget]:
    found = []
    month_usd = request.month_usd or service.month_usd
    if month_usd is not None:
        month = terms._replace(cap=int(month_usd * UNITS_PER_USD))
        if request.spent_usd is None:
            month = month._replace(period_of=spans_of(_MONTH_DAYS * DAY_MS, 0))
            found.append(_Budget(month, 0, 0, f"through a month of {_MONTH_DAYS} days"))
        else:
            spent = int(Decimal(repr(request.spent_usd)) * UNITS_PER_USD)
            found.append(_Budget(month, spent, request.now_ms, "until this month ends"))
    if service.day_usd is not None:
        day = terms._replace(cap=int(service.day_usd * UNITS_PER_USD), period_of=utc_day)
        found.append(_Budget(day, 0, 0, "through a day"))
    return found


def _paid(budget: _Budget, path: Path) -> int:
    """How many replicas it pays for; one at least, and as many as run by themselves."""
    terms, spent, now_ms, span = budget
    paid = safe_ceiling(terms, spent, now_ms)
    needs = max(terms.least, 1)
    if paid < needs:
        ahead = Period(now_ms, terms.period_of(now_ms).end_ms)
        least_cap = spent + terms._replace(least=needs).least_cap(ahead)
        gone = ", with what is spent" if spent else ""
        raise too_little(needs, least_cap, terms.cap, path, span + gone)
    return paid


def _notes(
    request: ServiceExportRequest, service: Service, chosen: Chosen | None, ceiling: Ceiling
) -> list[str]:
    notes = []
    if request.spent_usd is not None:
        notes.append("It holds until this month (of UTC) ends: export anew then")
    elif request.month_usd or service.month_usd:
        notes.append(
            "It is for a month from its beginning: --spent-usd says what is gone of this one"
        )
    if chosen is not None and chosen.spot:
        notes.append("A spot price moves, and with it what the budget pays for")
    if service.readiness.body is not None and request.to != "skyserve":
        notes.append(
            "The engine's own health check stays as it is: Kubernetes' and those of load balancers"
            " ask by GET, and your readiness probe is a POST (post_data)"
        )
    peak, served = service.traffic.peak_rps, ceiling.most * ceiling.target_rps
    if peak is not None and served < peak:
        replicas = count(ceiling.most, "replica")
        notes.append(f"{replicas} serve {served:.4g} requests a second, and the peak is {peak:g}")
    return notes


def _task(job: Job, chosen: Chosen | None) -> tuple[str, list[str]]:
    """The task that SkyServe's block is of: on the machine that the price is of."""
    if chosen is None:
        note = "Put it in the place of `service:` in your task, pinned to a machine of this price"
        return "", [note]
    kept_out = [reason.partition(":")[0] for reason in job.not_run]
    keys = [*job.ignored, *(key for key in kept_out if key != "service")]
    notes = [f"Of your task {key} is not in the file" for key in keys]
    return writer("skypilot").write(chosen), notes
