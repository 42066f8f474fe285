"""Which machines serve a service's traffic for the least, among those of known capacity."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.service_terms import engine_of, most_of
from mlbroker.broker.app.sources import check_filters, stated_at
from mlbroker.broker.backtest.request_trace import read_requests
from mlbroker.broker.evidence.capacities import nearest_capacity
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.quiet import nothing_on_stdout
from mlbroker.policies.candidates import Filters
from mlbroker.policies.interruptions import interruptions_per_s
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.policies.service.demand import Chosen, daily_wave, month_like
from mlbroker.policies.service.fleet import Limits, Option
from mlbroker.policies.service.mix import choose
from mlbroker.policies.service.mixed_replay import Trace
from mlbroker.policies.service.replay import Row
from mlbroker.policies.service.spot_loss import on_spot
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Replicas
from mlbroker.profiles.service import USUAL_SHARE, Measured, Service, Traffic


def choose_machines(
    request: PlanRequest,
    made: Plan,
    planner: Planner,
    book: Book,
    path: Path,
    measured: Mapping[str, Measured],
    listener: Listener,
) -> Chosen | None:
    """None where no traffic is told, or no capacity is known on a machine that is sold.

    Of a recorded trace the plan's choice is played all the same, by what the job file or another
    machine tells. InputError, with file and line, for a type that nobody sells and for a trace
    that cannot be.
    """
    service, replicas = request.job.service, request.job.replicas
    assert service is not None
    assert replicas is not None
    capacity = _known(service, measured, book, path)
    latest = nearest_capacity(measured, None)
    guess = None if capacity else _guessed(service, latest, made)
    if guess is not None and made.choice is not None:
        capacity = {made.choice.instance_type: (guess[0], "guess")}
    if not capacity or service.traffic == Traffic():
        return None
    load_numpy()
    trace = Trace(_rows(service.traffic, path, listener), engine := engine_of(service, 1.0))
    serving = {name: rps for name, (rps, _) in capacity.items() if rps > 0}
    gpus = {kind.name for _, _, kind in book.types() if kind.hardware.gpu is not None}
    options = []
    quotes = _quotes(request, planner, serving)
    instead = _on_demand(request, planner, [q for q in quotes if q.market is Market.SPOT])
    for quote in quotes:
        rps, known = capacity[quote.instance_type]
        option = Option(
            quote.instance_type, quote.cloud, quote.region, quote.market, quote.hourly_usd, rps,
            known, None if latest is None else latest.tokens,
        )  # fmt: skip
        if quote.market is Market.SPOT:
            has_gpu = quote.instance_type in gpus
            per_h = 3600 * interruptions_per_s(quote.interruption_rate, has_gpu)
            option = on_spot(option, per_h, engine.boot_ms / 1000, instead.get(_place(quote)))
        options.append(option)
    limits = _limits(service, replicas)
    with nothing_on_stdout():
        choice = choose(options, trace, limits)
    assumed = service.traffic.trace is None
    sold = {option.name for option in options}
    return Chosen(
        choice,
        limits,
        trace.mean_rps,
        trace.peak_rps,
        assumed,
        tuple(name for name in capacity if name not in serving),
        tuple(name for name in serving if name not in sold),
        None if assumed or choice.best is None else month_like(trace, choice.best),
        None if guess is None else guess[1],
    )


def _guessed(service: Service, measured: Measured | None, made: Plan) -> tuple[float, str] | None:
    """What a replica serves on the plan's choice, and whose guess that is."""
    if made.choice is None or service.traffic.trace is None:
        return None
    if measured is not None:
        return measured.low_rps, f"as measured on {measured.config}"
    if service.target_rps is not None:
        return service.target_rps, "by target_qps_per_replica"
    return None


def _known(
    service: Service, measured: Mapping[str, Measured], book: Book, path: Path
) -> dict[str, tuple[float, str]]:
    """Requests a second by type, and how they are known: what was measured goes first."""
    for name, _ in service.capacity:
        where = stated_at(path, f"broker.service.capacity.{name}")
        check_filters(Filters(instance_types=(name,)), book, types_from=where)
    known = {name: (rps, "stated") for name, rps in service.capacity}
    sold = {kind.name for _, _, kind in book.types()}
    known |= {name: (m.low_rps, "measured") for name, m in measured.items() if name in sold}
    return known


def _rows(traffic: Traffic, path: Path, listener: Listener) -> Sequence[Row]:
    if traffic.trace is not None:
        return read_requests(path.parent / traffic.trace, None, listener.warn)
    assert traffic.rate_rps is not None
    assert traffic.peak_rps is not None
    return daily_wave(traffic.rate_rps, traffic.peak_rps)


def _quotes(request: PlanRequest, planner: Planner, names: Iterable[str]) -> Sequence[Quote]:
    """At all places where the plan's own filters let them be."""
    asked = request.filters.instance_types
    wanted = tuple(name for name in names if not asked or name in asked)
    if not wanted:
        return ()
    filters = request.filters._replace(instance_types=wanted)
    made = planner.plan(request._replace(filters=filters, top=0, explain=False, advise=False))
    # Of one's own machines there are as many as there are.
    return [quote for quote in made.quotes if not vendor(quote.cloud).own]


def _place(quote: Quote) -> tuple[str, str, str]:
    return quote.cloud, quote.region, quote.instance_type


def _on_demand(
    request: PlanRequest, planner: Planner, spot: Sequence[Quote]
) -> dict[tuple[str, str, str], Decimal]:
    """What an hour on demand costs where these are sold on spot, whatever the job asks for."""
    resources = tuple(
        option._replace(market=None if option.market is Market.SPOT else option.market)
        for option in request.job.resources
    )
    asked = request._replace(job=replace(request.job, resources=resources))
    names: dict[tuple[str, str], list[str]] = {}
    for quote in spot:
        names.setdefault((quote.cloud, quote.region), []).append(quote.instance_type)
    found = {}
    # A plan names the best region only: each of them is asked about.
    for (cloud, region), here in names.items():
        filters = request.filters._replace(
            clouds=(cloud,), regions=(region,), markets=(Market.ON_DEMAND,)
        )
        for quote in _quotes(asked._replace(filters=filters), planner, here):
            found[_place(quote)] = quote.hourly_usd
    return found


def _limits(service: Service, replicas: Replicas) -> Limits:
    return Limits(
        USUAL_SHARE if service.objective is None else service.objective.share,
        replicas.least,
        most_of(service, replicas),
        service.scales,
    )
