"""Job + book + evidence -> machines, candidates, and what is out before any price is read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from mlbroker.policies.candidates import (
    MARKETS,
    Filters,
    Fit,
    TypeRefusal,
    admitted_markets,
    fitting,
    regions_admitted,
)
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import Pace, PacedType, UnknownPace
from mlbroker.policies.picks import Candidate
from mlbroker.policies.planner.book import Book
from mlbroker.policies.quote import OutOfReach, Reason
from mlbroker.pricing import power
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import InstanceType, Market
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.estimators import predict
from mlbroker.profiles.estimators.datasheet import relative_speed
from mlbroker.profiles.job import Job, ResourceOption
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Prediction, Target

if TYPE_CHECKING:
    # Loads numpy; few jobs have a batch that may be another.
    from mlbroker.policies.planner.other_batches import OtherBatches


@dataclass(slots=True)
class Field:
    """All that is in the running, and all that is not. `known` tells whether anything is known of
    how long the job takes on any machine. Where the batch is to be chosen too, `machines` are at
    the job's own, and `others` the same at other `batches` that may be better.
    """

    machines: dict[int, PacedType]
    candidates: list[Candidate]
    refusals: list[TypeRefusal]
    known: bool
    others: dict[int, list[PacedType]]
    batches: "OtherBatches | None" = None

    def at_all_batches(self, number: int) -> list[PacedType]:
        """One type; last the batch by which it is sure soonest."""
        return [self.machines[number], *self.others.get(number, ())]


def gather(
    job: Job, constraints: Constraints, book: Book, evidence: Evidence, filters: Filters
) -> Field:
    """Machines that meet the job's needs, with predictions, and their prices."""
    fits, refusals = fitting(job, book.types(), evidence.measurements, filters)
    draw = partial(power.power_w, cpu_power=book.cpu_power(), gpu_works=constraints.uses_gpu)
    regions = book.regions()
    measured_in = _measured_regions(evidence.measurements)
    machines: dict[int, PacedType] = {}
    others: dict[int, list[PacedType]] = {}
    groups, paces = _paced(fits, constraints, evidence)
    known = any(paces)
    batches = _other_batches(job, constraints, evidence) if known else None
    own = None if batches is None else batches.own
    if not known:
        paces = [_unknown(group[0].type, constraints) for group in groups]
    at_batches = _at_batches(batches, groups, paces, constraints)
    for group, pace, steps in zip(groups, paces, at_batches, strict=True):
        if pace is None:
            why = (Reason.NEEDS_NOT_MET, "its speed is unknown")
            refusals += [TypeRefusal(fit.id, fit.type, m, *why) for fit in group for m in MARKETS]
        else:
            names = measured_in.get(group[0].type.name, frozenset())
            regional = _regional(group[0].type, names, regions, constraints, evidence)
            at_others: list[PacedType] = []
            if batches is not None:
                at_own = PacedType(group[0].type, pace, draw, regional, own)
                at_others = _at_others(at_own, batches, steps, regions, constraints)
            for fit in group:
                machines[fit.id] = PacedType(fit.type, pace, draw, regional, own)
                if at_others:
                    others[fit.id] = [each._replace(type=fit.type) for each in at_others]
    field = Field(machines, [], refusals, known, others, batches)
    # A few regions are read in full; of all, only the cheapest row of each type and market, once.
    cheapest = cache(lambda: _shelf(book.price_rows(depth=1)))
    for index, option in enumerate(job.resources):
        members = [fit.id for fit in fits if index in fit.options and fit.id in machines]
        if members:
            allowed = regions_admitted(regions, option, filters)
            complete = allowed is not None
            shelf = _shelf(book.price_rows(None, allowed)) if complete else cheapest()
            _enter(field, members, index, option, filters, shelf, complete)
    # A bound on a machine needs one pace in all regions: one with several is looked at in full.
    for candidate in field.candidates:
        if candidate.machine.regional and not candidate.complete:
            candidate.rows = list(all_prices(book, job)(candidate))
            candidate.complete = True
    out_of_reach = book.out_of_reach
    if out_of_reach:
        field.refusals[:] = [_within_reach(refusal, out_of_reach) for refusal in field.refusals]
    return field


def _within_reach(refusal: TypeRefusal, out_of_reach: OutOfReach) -> TypeRefusal:
    """A price that is missing because the account cannot have the machine, said as such."""
    why = out_of_reach.get((refusal.type_id, int(refusal.market is Market.SPOT)))
    if why is None or refusal.reason is not Reason.PRICE_MISSING:
        return refusal
    return refusal._replace(reason=why[0], detail=why[1])


def _measured_regions(rows: Sequence[Measurement]) -> dict[str, frozenset[str]]:
    """The regions that each type was measured in, by the type's name."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.status is Status.OK and row.region is not None:
            found.setdefault(row.instance_type or row.config, set()).add(row.region)
    return {name: frozenset(places) for name, places in found.items()}


def _regional(
    kind: InstanceType,
    names: frozenset[str],
    regions: dict[int, Region],
    constraints: Constraints,
    evidence: Evidence,
) -> dict[int, Pace]:
    """Paces of a type in the regions where it was measured by itself (by region id)."""
    if not names:
        return {}
    places = [
        (number, region)
        for number, region in regions.items()
        if region.name in names and region.cloud == kind.cloud
    ]
    targets = [target_of(kind, constraints.nodes, region.name) for _, region in places]
    return {
        number: _pace(constraints, kind, prediction)
        for (number, _), prediction in zip(places, predict(evidence, targets), strict=True)
        if prediction is not None
    }


def _paced(
    fitting: Sequence[Fit], constraints: Constraints, evidence: Evidence
) -> tuple[list[list[Fit]], list[Pace | None]]:
    """Groups of equal machines and their paces; None where nothing is known of their speed.

    Equal hardware of one cloud goes at one pace, unless measured under its own name.
    """
    rows = [*evidence.measurements, *(evidence.batches.rows if evidence.batches else ())]
    measured = {row.instance_type or row.config for row in rows}
    groups: dict[tuple[int, str, str], list[Fit]] = {}
    for fit in fitting:
        name = fit.type.name
        key = (fit.hardware_id, fit.type.cloud, name if name in measured else "")
        groups.setdefault(key, []).append(fit)
    kinds = [group[0].type for group in groups.values()]
    targets = [target_of(kind, constraints.nodes) for kind in kinds]
    paces = [
        None if prediction is None else _pace(constraints, kind, prediction)
        for kind, prediction in zip(kinds, predict(evidence, targets), strict=True)
    ]
    return list(groups.values()), paces


def target_of(kind: InstanceType, nodes: int, region: str | None = None) -> Target:
    """A type as predictions are asked for it."""
    return Target(kind.cloud, kind.name, kind.hardware, nodes, region)


def _other_batches(job: Job, constraints: Constraints, evidence: Evidence) -> "OtherBatches | None":
    """None where the batch is not to be chosen."""
    if job.batch is None or evidence.batches is None:
        return None
    from mlbroker.policies.planner.other_batches import OtherBatches
    from mlbroker.profiles.batch_steps import BatchSteps

    return OtherBatches(job, constraints, BatchSteps(job, evidence.batches))


def _at_batches(
    batches: "OtherBatches | None",
    groups: Sequence[Sequence[Fit]],
    paces: Sequence[Pace | None],
    constraints: Constraints,
) -> Sequence[Mapping[int, Prediction]]:
    """Each group's predictions by batch; none where the batch is not to be chosen."""
    if batches is None:
        return [{}] * len(groups)
    targets = [target_of(group[0].type, constraints.nodes) for group in groups]
    return batches.predicted(targets, paces)


def _at_others(
    machine: PacedType,
    batches: "OtherBatches",
    steps: Mapping[int, Prediction],
    regions: Mapping[int, Region],
    constraints: Constraints,
) -> list[PacedType]:
    """A machine at the batches that may be better than the job's own."""
    kind = machine.type
    paced = partial(_pace, constraints, kind)
    places = list(machine.regional)
    targets = [target_of(kind, constraints.nodes, regions[place].name) for place in places]
    there = dict(
        zip(places, batches.predicted(targets, list(machine.regional.values())), strict=True)
    )
    return [
        machine._replace(
            pace=paced(steps[at.size]),
            regional={place: paced(found[at.size]) for place, found in there.items()},
            batch=at,
        )
        for at in batches.worthwhile(steps)
    ]


def _pace(constraints: Constraints, kind: InstanceType, prediction: Prediction) -> Pace:
    return Pace(constraints, prediction, kind.cloud, kind.hardware.gpu is not None)


def _unknown(kind: InstanceType, constraints: Constraints) -> Pace:
    speed = relative_speed(kind.hardware, constraints.uses_gpu)
    return UnknownPace(constraints, speed, kind.cloud)


Shelf = dict[tuple[int, int], list[RegionPrice]]


def _shelf(rows: Sequence[RegionPrice]) -> Shelf:
    shelf: Shelf = {}
    for row in rows:
        shelf.setdefault(row.offered, []).append(row)
    return shelf


def _enter(
    field: Field,
    members: Sequence[int],
    index: int,
    option: ResourceOption,
    filters: Filters,
    shelf: Shelf,
    complete: bool,
) -> None:
    """Put `members` into the running under one option, in each market that has a price."""
    ceiling = ceiling_nano_usd(option)
    markets = admitted_markets(option, filters)
    launches = [
        (market, Launch(market is Market.SPOT, bool(option.image_id))) for market in markets
    ]
    for number in members:
        machine = field.machines[number]
        for market, launch in launches:
            spot = launch.spot
            unusable = vendor(machine.type.cloud).not_launchable(machine.type, launch)
            if unusable is not None:
                why = (Reason.NOT_LAUNCHABLE, unusable)
                field.refusals.append(TypeRefusal(number, machine.type, market, *why))
                continue
            prices = shelf.get((number, int(spot)), [])
            within = prices
            if ceiling is not None:
                within = [row for row in prices if row.nano_usd_per_hour <= ceiling]
            if within:
                named = option.instance_type is not None
                field.candidates += [
                    Candidate(each, spot, index, within, complete, named=named)
                    for each in field.at_all_batches(number)
                ]
                continue
            if prices:
                highest = option.max_price_per_hour_usd
                least = prices[0].nano_usd_per_hour / NANO_PER_USD
                detail = f"{least:.4g} USD an hour at least, the ceiling is {highest}"
                refusal = TypeRefusal(
                    number, machine.type, market, Reason.ABOVE_PRICE_CEILING, detail, least
                )
                field.refusals.append(refusal)
                continue
            if spot and vendor(machine.type.cloud).own:
                continue  # nobody sells one's own machine as spot
            where = " in the regions allowed" if complete else ""
            why = (Reason.PRICE_MISSING, f"no {market.replace('_', '-')} price{where}")
            field.refusals.append(TypeRefusal(number, machine.type, market, *why))


def ceiling_nano_usd(option: ResourceOption) -> int | None:
    """The option's highest hourly price, in the book's unit."""
    highest = option.max_price_per_hour_usd
    return None if highest is None else int(highest * NANO_PER_USD)


def all_prices(book: Book, job: Job) -> Callable[[Candidate], Iterator[RegionPrice]]:
    """Reads every region's price of a candidate, cheapest first."""

    def more(candidate: Candidate) -> Iterator[RegionPrice]:
        ceiling = ceiling_nano_usd(job.resources[candidate.option])
        for row in book.prices_of(candidate.rows[0].type_id, int(candidate.spot)):
            if ceiling is not None and row.nano_usd_per_hour > ceiling:
                return
            yield row

    return more
