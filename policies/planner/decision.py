"""One job on one book: what is in the running, the best of it, and how that came about."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.policies.baseline import usual_type
from mlbroker.policies.candidates import Filters, TypeRefusal
from mlbroker.policies.choose import Chooser
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.objective import quote_key
from mlbroker.policies.pace import PacedType
from mlbroker.policies.picks import Pick, Refusal
from mlbroker.policies.planner.book import Book, with_hardware, with_hint
from mlbroker.policies.planner.field import all_prices, gather, target_of
from mlbroker.policies.planner.plan import (
    PROBE_OFFERS,
    LeftOut,
    NearMiss,
    Plan,
    PlanRequest,
    WholeAt,
)
from mlbroker.policies.quote import Quote, Reason, Rejection
from mlbroker.policies.quoting import make_quote
from mlbroker.policies.region_costs import RegionCosts, region_costs
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.offer import Market
from mlbroker.pricing.price_age import price_width
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.spot import most_per_hour_usd
from mlbroker.pricing.vendors import VENDORS, vendor
from mlbroker.profiles.prediction import Target
from mlbroker.profiles.probe_advice import Offered

if TYPE_CHECKING:
    # Loads numpy; few jobs may fall back.
    from mlbroker.policies.falling_back import FallingBack

# Four parts of a quote are rounded to the micro-dollar each.
ROUNDING_USD = 4e-6


def decide(book: Book, now: datetime, request: PlanRequest) -> Plan:
    """The plan of one job. With a deadline that has passed there is nothing to choose."""
    job, evidence = request.job, with_hint(book, request.evidence)
    request = request._replace(evidence=evidence)
    constraints = Constraints.of(job, evidence, book.regions(), now)
    if constraints.deadline_has_passed:
        return Plan(job, now, book.snapshot, constraints, len(evidence.measurements))
    return Decision(book, request, constraints).plan(now)


class Decision:
    """The `request.top` best machines, region and market included.

    `add_ons` is what regions add to the price of a machine, where it is known already.
    """

    def __init__(
        self,
        book: Book,
        request: PlanRequest,
        constraints: Constraints,
        add_ons: Sequence[Sequence[RegionCosts | None]] | None = None,
    ) -> None:
        job, evidence = request.job, request.evidence
        # Other jobs say something of this one only once it was measured itself.
        if evidence.measurements:
            evidence = with_hardware(book, evidence)
        self._request = request
        self._book = book
        self._regions = book.regions()
        self._constraints = constraints
        self._field = gather(job, constraints, book, evidence, request.filters)
        limits = constraints if self._field.known else constraints.unjudged()
        table = add_ons or region_costs(constraints, self._regions, job.resources)
        self._falling_back = self._may_fall_back(limits)
        self._chooser = Chooser(
            limits, table, all_prices(book, job), request.judge, self._falling_back
        )
        deep = request.advise and request.top
        top = max(request.top, PROBE_OFFERS) if deep else request.top
        self.selection = self._chooser.choose(self._field.candidates, top)

    def plan(self, now: datetime) -> Plan:
        """The decision with all that explains it."""
        request, constraints, selection = self._request, self._constraints, self.selection
        picks = selection.picks[: request.top or None]
        kept = picks if request.keep is None else request.keep(picks)
        quotes = [self._quote(pick, place) for place, pick in enumerate(kept)]
        if self._field.known:
            quotes.sort(key=lambda quote: quote_key(constraints.objective, quote))
        out = self._out()
        return Plan(
            job=request.job,
            generated_at=now,
            snapshot=self._book.snapshot,
            constraints=constraints,
            measurements=len(request.evidence.measurements),
            choice=quotes[0] if quotes else None,
            quotes=tuple(quotes),
            feasible=selection.feasible,
            rejections=Counter(item.reason for item in out),
            rejected=tuple(map(self._rejection, out)) if request.explain else (),
            examples={} if quotes else self._examples(out),
            baseline=self._baseline(),
            probe_offers=self._probe_offers() if request.advise else (),
            near_miss=None if quotes else self._near_miss(),
            known=self._field.known,
            unjudged=() if self._field.known else self._unjudged(quotes),
            at_batches=self._at_batches(quotes[0]) if quotes else (),
        )

    def _at_batches(self, choice: Quote) -> tuple[WholeAt, ...]:
        """The machine of the choice at every batch, where the batch was to be chosen."""
        batches = self._field.batches
        if batches is None:
            return ()
        machine = next(
            machine
            for machine in self._field.machines.values()
            if (machine.type.cloud, machine.type.name) == (choice.cloud, choice.instance_type)
        )
        here = next(
            number
            for number, region in self._regions.items()
            if (region.cloud, region.name) == (choice.cloud, choice.region)
        )
        target = target_of(machine.type, self._constraints.nodes, choice.region)
        return batches.courses(target, machine.pace_in(here))

    def _unjudged(self, quotes: Sequence[Quote]) -> tuple[str, ...]:
        """The limits that cannot be judged while nobody knows how long the job takes."""
        limits, judge = self._constraints, self._request.judge
        found = [] if limits.deadline_s is None else ["deadline"]
        found += [] if limits.budget_usd is None else ["budget"]
        if judge is not None and quotes:
            from mlbroker.policies.guardrails.interface import Subject

            best = quotes[0]
            machines = self._field.machines.values()
            named = (m.type for m in machines if m.type.name == best.instance_type)
            kind = next(kind for kind in named if kind.cloud == best.cloud)
            found += judge.unjudged(Subject.of_quote(best, kind))
        return tuple(found)

    def best_quote(self) -> tuple[Quote | None, float]:
        """The choice of the plan by cost, with no more quotes worked out than may be it, and the
        cost up to which a pick that is not among these would have to be looked at too.

        What vendors charge is rounded up from a pick's cost, but for millionths of a dollar.
        """
        best: Quote | None = None
        reach = math.inf
        objective = self._constraints.objective
        for place, pick in enumerate(self.selection.picks):
            if pick.key[0] > reach:
                break
            quote = self._quote(pick, place)
            if best is None or quote_key(objective, quote) < quote_key(objective, best):
                best = quote
                reach = quote_key(objective, best)[0] + ROUNDING_USD
        return best, reach

    def _may_fall_back(self, limits: Constraints) -> "FallingBack | None":
        """What spot costs that may fall back on demand; None where this job may not."""
        if limits.deadline_s is None or limits.checkpoint is None:
            return None
        from mlbroker.policies.falling_back import FallingBack, Sold
        from mlbroker.policies.spot.rates import OwnRuns

        request = self._request
        market = Sold(self._on_demand_usd, self._regions, request.own_runs or OwnRuns())
        return FallingBack.of(limits, request.job, request.filters, market, request.solver)

    def _on_demand_usd(self, type_id: int, region_id: int) -> Decimal | None:
        try:
            return self._book.offer(type_id, 0, region_id).price_per_hour_usd
        except KeyError:
            return None

    def _quote(self, pick: Pick | Refusal, place: int = 0) -> Quote:
        """The exact figures, feasible or not."""
        quote = self._quoted(pick.candidate.machine, pick.row, pick.candidate.option)
        if self._falling_back is None or not isinstance(pick, Pick) or not pick.falls_back:
            return quote
        case = self._chooser.case(pick.candidate, pick.row)
        assert case is not None, "a pick that falls back is one of a case"
        return self._falling_back.quoted(quote, case, place)

    def _quoted(self, machine: PacedType, row: RegionPrice, option: int) -> Quote:
        wanted = self._request.job.resources[option]
        quote = make_quote(
            self._constraints,
            machine.power_w,
            machine.pace_in(row.region_id),
            self._book.offer(row.type_id, row.spot, row.region_id),
            self._regions[row.region_id],
            wanted.disk_gb,
            price_width(bool(row.spot), row.age_days),
        )
        most = self._most_usd(row, quote, wanted.max_price_per_hour_usd) if row.spot else None
        arch = machine.type.hardware.arch
        return quote._replace(
            option=option, arch=arch, max_price_per_hour_usd=most, batch=machine.batch
        )

    def _most_usd(self, row: RegionPrice, quote: Quote, ceiling: Decimal | None) -> Decimal:
        """What a spot machine may come to cost an hour: never more than one on demand."""
        on_demand = self._on_demand_usd(row.type_id, row.region_id)
        price = quote.price_per_hour_usd
        return most_per_hour_usd(quote.cloud, quote.market, price, on_demand, ceiling)

    def _probe_offers(self) -> tuple[Offered, ...]:
        nodes = self._constraints.nodes
        return tuple(
            Offered(
                Target(machine.type.cloud, machine.type.name, machine.type.hardware, nodes),
                pick.row.nano_usd_per_hour / NANO_PER_USD * nodes,
                machine.pace.setup_s,
            )
            for pick in self.selection.picks[:PROBE_OFFERS]
            for machine in (pick.candidate.machine,)
        )

    def _out(self) -> list[TypeRefusal | Refusal]:
        """Everything that is out, one entry for each type and market.

        A type that is out under one resource option may be in under another.
        """
        field, refusals = self._field, self.selection.refusals
        alive = {id(candidate) for candidate in field.candidates}
        alive -= {id(item.candidate) for item in refusals}
        in_running = {
            (candidate.rows[0].type_id, candidate.spot)
            for candidate in field.candidates
            if id(candidate) in alive
        }
        entries: dict[tuple[int, bool], TypeRefusal | Refusal] = {
            (item.type_id, item.market is Market.SPOT): item for item in field.refusals
        }
        entries.update({(item.row.type_id, item.candidate.spot): item for item in refusals})
        return [item for key, item in entries.items() if key not in in_running]

    def _rejection(self, item: TypeRefusal | Refusal) -> Rejection:
        """One rejection in full: what it would have cost, and which limit would have let it in."""
        if isinstance(item, TypeRefusal):
            kind = item.type
            return Rejection(kind.cloud, None, kind.name, item.market, item.reason, item.detail)
        quote = self._quote(item)
        detail, sure = item.detail, f"{self._constraints.confidence * 100:.4g}%"
        if item.needs_s is not None:
            detail = f"{sure} sure only after {item.needs_s / 3600:.2f} h"
        elif item.needs_usd is not None:
            detail = f"{sure} sure only within {item.needs_usd:.4f} USD"
        return Rejection(
            quote.cloud,
            quote.region,
            quote.instance_type,
            quote.market,
            item.reason,
            detail,
            quote.cost_usd and quote.cost_usd.expected,
            quote.duration_h and quote.duration_h.p50,
        )

    def _examples(self, out: Sequence[TypeRefusal | Refusal]) -> dict[Reason, Rejection]:
        """For each reason the one that misses by least, where that is known; else the one of the
        rarest detail: what thousands share says least of the one that was hoped for.
        """
        shared = Counter((item.reason, item.detail) for item in out)
        wishes = self._request.job.resources

        def nearness(item: TypeRefusal | Refusal) -> tuple[float, int]:
            miss = 0.0
            if isinstance(item, TypeRefusal):
                miss = item.usd_per_hour or 0.0
                if item.reason is Reason.NEEDS_NOT_MET:
                    miss = min(wish.distance(item.type) for wish in wishes)
            return miss, shared[item.reason, item.detail]

        rarest: dict[Reason, TypeRefusal | Refusal] = {}
        for item in sorted(out, key=nearness):
            rarest.setdefault(item.reason, item)
        return {reason: self._rejection(item) for reason, item in rarest.items()}

    def _near_miss(self, left_out: tuple[LeftOut, ...] | None = None) -> NearMiss:
        from mlbroker.policies.planner.near_misses import near_miss  # most plans have a choice

        found = self._left_out() if left_out is None else left_out
        return near_miss(self._chooser, self.selection.refusals, found)

    def _left_out(self) -> tuple[LeftOut, ...]:
        """The best of the retired types, and the best of all without the command's flags."""
        filters = self._request.filters
        retired = {item.type.name for item in self._field.refusals if item.reason is Reason.RETIRED}
        named = filters._replace(instance_types=tuple(sorted(retired)))
        others = ((Reason.RETIRED, named, bool(retired)),
                  (Reason.EXCLUDED_BY_FLAG, Filters(), filters != Filters()))  # fmt: skip
        found = (self._best_under(other, reason) for reason, other, any_ in others if any_)
        return tuple(best for best in found if best is not None)

    def _best_under(self, filters: Filters, reason: Reason) -> LeftOut | None:
        """The best machine under other flags; where only retired ones meet the needs, also one that
        misses the limits.
        """
        request = self._request._replace(filters=filters, top=1)
        other = Decision(self._book, request, self._constraints)
        picks = other.selection.picks
        if picks or reason is not Reason.RETIRED or self._field.candidates:
            best = [pick.candidate.machine.type for pick in picks]
        else:
            miss = other._near_miss(())
            kinds = [candidate.machine.type for candidate in other._field.candidates]
            best = [kind for kind in kinds if kind.name in (miss.deadline_with, miss.budget_with)]
        if not best:
            return None
        return LeftOut(best[0].cloud, best[0].name, reason, would_do=bool(picks))

    def _baseline(self) -> Quote | None:
        """The quote of the user's own pin, else of the usual type in its home region."""
        option = self._request.job.resources[0]
        wanted_clouds = (option.cloud,) if option.cloud else tuple(VENDORS)
        clouds = self._request.filters.clouds or wanted_clouds
        machines = self._field.machines
        running = [(number, machine.type) for number, machine in machines.items()]
        if option.instance_type is not None:
            found = [number for number, kind in running if option.names(kind.name)]
            number, region_name = (found[0], option.region) if found else (None, None)
        else:
            number, region_name = usual_type(option.requirements, running, clouds)
        if number is None:
            return None
        machine = machines[number]
        wanted = region_name or vendor(machine.type.cloud).usual_region
        for row in self._book.price_rows(depth=None, type_ids=[number]):
            if not row.spot and self._regions[row.region_id].name == wanted:
                return self._quoted(machine, row, 0)
        return None
