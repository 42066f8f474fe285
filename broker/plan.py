"""The plan: from a job to a decision. This is the picture of the whole product on one page."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.planning import (
    Book,
    Field,
    all_prices,
    fill_hardware,
    gather,
)
from mlbroker.policies.baseline import USUAL_REGION, usual_type
from mlbroker.policies.candidates import Filters, TypeRefusal
from mlbroker.policies.choose import Chooser, Pick, Refusal, Selection
from mlbroker.policies.constraints import Ask
from mlbroker.policies.objective import quote_key
from mlbroker.policies.quote import Quote, Reason, Rejection
from mlbroker.policies.quoting import make_quote
from mlbroker.policies.region_costs import Place, places
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.book import Snapshot
from mlbroker.pricing.offer import Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators.datasheet import job_uses_gpu
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.veto import Veto

# Four parts of a quote are rounded to the micro-dollar each.
ROUNDING_USD = 4e-6


class NearMiss(NamedTuple):
    """What would have to change for anything to be feasible: the least sufficient limits.

    Either of them does by itself; or, `together`, the one machine needs both.
    """

    deadline_s: float | None
    deadline_with: str | None
    budget_usd: Decimal | None
    budget_with: str | None
    together: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision with everything needed to explain it."""

    job: Job
    generated_at: datetime
    snapshot: Snapshot
    ask: Ask
    measurements: int
    choice: Quote | None
    quotes: tuple[Quote, ...]
    feasible: int
    rejections: Mapping[Reason, int]
    rejected: tuple[Rejection, ...]
    baseline: Quote | None
    near_miss: NearMiss | None

    @property
    def savings_usd(self) -> Decimal | None:
        """Expected saving of the choice against the baseline."""
        if self.choice is None or self.baseline is None:
            return None
        return self.baseline.cost_usd.expected - self.choice.cost_usd.expected


def make_plan(
    job: Job,
    book: Book,
    evidence: Evidence,
    now: datetime,
    filters: Filters,
    *,
    top: int = 10,
    explain: bool = False,
    veto: "Veto | None" = None,
) -> Plan:
    """Choose the best machine for `job`. `top` quotes are worked out (0: all feasible ones);
    every single rejection is only with `explain`, or when nothing is feasible. `veto` is the
    user's policy file.
    """
    regions = book.regions()
    ask, field, chooser, selection = screen(job, book, evidence, now, filters, top=top, veto=veto)
    quotes = sorted(
        (_quote(pick, ask, job, book, regions) for pick in selection.picks),
        key=lambda quote: quote_key(ask.objective, quote),
    )
    out = _out(field, selection)
    return Plan(
        job=job,
        generated_at=now,
        snapshot=book.snapshot,
        ask=ask,
        measurements=len(evidence.measurements),
        choice=quotes[0] if quotes else None,
        quotes=tuple(quotes),
        feasible=selection.feasible,
        rejections=Counter(item.reason for item in out.values()),
        rejected=(
            tuple(_rejection(item, ask, job, book, regions) for item in out.values())
            if explain or not quotes
            else ()
        ),
        baseline=_baseline(job, ask, book, field, filters, regions),
        near_miss=None if quotes else _near_miss(chooser, selection),
    )


class Screened(NamedTuple):
    """The best picks for a job, and what they were picked from."""

    ask: Ask
    field: Field
    chooser: Chooser
    selection: Selection

    def best_quote(self, job: Job, book: Book) -> tuple[Quote | None, float]:
        """The choice of the plan by cost, with no more quotes worked out than may be it, and the
        cost up to which a pick that is not among these would have to be looked at too.

        What vendors charge is rounded up from a pick's cost, but for millionths of a dollar.
        """
        best: Quote | None = None
        reach = math.inf
        for pick in self.selection.picks:
            if pick.key[0] > reach:
                break
            quote = _quote(pick, self.ask, job, book, book.regions())
            objective = self.ask.objective
            if best is None or quote_key(objective, quote) < quote_key(objective, best):
                best = quote
                reach = float(best.cost_usd.expected) + ROUNDING_USD
        return best, reach


def screen(
    job: Job,
    book: Book,
    evidence: Evidence,
    now: datetime,
    filters: Filters,
    *,
    top: int,
    veto: "Veto | None" = None,
    add_ons: Sequence[Sequence[Place | None]] | None = None,
) -> Screened:
    """Find the `top` best machines, region and market included.

    `add_ons` is what regions add to the price of a machine, where it is known already.
    """
    regions = book.regions()
    rows = fill_hardware(book, evidence.measurements)
    # Other jobs say something of this one only once it was measured itself.
    history = fill_hardware(book, evidence.history) if rows else evidence.history
    evidence = evidence._replace(measurements=rows, history=history)
    ask = make_ask(job, evidence, regions, now)
    field = gather(job, ask, book, evidence, filters)
    table = add_ons or places(ask, regions, job.resources)
    chooser = Chooser(ask, table, all_prices(book, job), veto)
    return Screened(ask, field, chooser, chooser.choose(field.candidates, top))


def make_ask(job: Job, evidence: Evidence, regions: dict[int, Region], now: datetime) -> Ask:
    """The job's limits, resolved at `now`. Work nobody stated is taken from measurements.

    Raises InputError when the deadline has passed.
    """
    deadline_s = None if job.deadline is None else job.deadline.seconds_from(now)
    if deadline_s is not None and deadline_s <= 0:
        raise InputError("the deadline has passed", where="deadline", hint="set a later one")
    measured_steps = [row.steps for row in evidence.measurements if row.steps]
    steps = job.work.steps if job.work else max(measured_steps, default=1)
    at = job.data.at
    home = None
    if at is not None:
        home = next(
            (
                region
                for region in regions.values()
                if region.cloud == at.cloud and at.region in (None, region.name)
            ),
            Region(at.cloud, at.region or ""),
        )
    return Ask.of(
        job,
        steps=steps,
        deadline_s=deadline_s,
        data_region=home,
        uses_gpu=job_uses_gpu(job, evidence.measurements),
    )


def _quote(pick: Pick, ask: Ask, job: Job, book: Book, regions: dict[int, Region]) -> Quote:
    type_id, spot, region_id = pick.row[:3]
    offer = book.offer(type_id, spot, region_id)
    disk_gb = job.resources[pick.candidate.option].disk_gb
    machine = pick.candidate.machine
    pace = machine.pace_in(region_id)
    return make_quote(ask, machine.power_w, pace, offer, regions[region_id], disk_gb)


def _out(field: Field, selection: Selection) -> dict[tuple[int, bool], TypeRefusal | Refusal]:
    """Everything that is out, one entry for each type (by id) and market.

    A type that is out under one resource option may be in under another.
    """
    refused = {(item.row[0], item.candidate.spot): item for item in selection.refusals}
    alive = {id(candidate) for candidate in field.candidates}
    alive -= {id(item.candidate) for item in selection.refusals}
    in_running = {
        (candidate.rows[0][0], candidate.spot)
        for candidate in field.candidates
        if id(candidate) in alive
    }
    entries: dict[tuple[int, bool], TypeRefusal | Refusal] = {
        (item.type_id, item.market is Market.SPOT): item for item in field.refusals
    }
    entries.update(refused)
    return {key: item for key, item in entries.items() if key not in in_running}


def _rejection(
    item: TypeRefusal | Refusal, ask: Ask, job: Job, book: Book, regions: dict[int, Region]
) -> Rejection:
    """One rejection in full: what it would have cost, and which limit would have let it in."""
    if isinstance(item, TypeRefusal):
        kind = item.type
        return Rejection(kind.cloud, None, kind.name, item.market, item.reason, item.detail)
    quote = _quote(Pick(item.candidate, item.row, (0.0, 0.0)), ask, job, book, regions)
    detail, sure = item.detail, f"{ask.confidence * 100:.4g}%"
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
        quote.cost_usd.expected,
        quote.duration_h.p50,
    )


def _baseline(
    job: Job, ask: Ask, book: Book, field: Field, filters: Filters, regions: dict[int, Region]
) -> Quote | None:
    """The quote of the user's own pin, else of the usual type in its home region."""
    option = job.resources[0]
    clouds = filters.clouds or ((option.cloud,) if option.cloud else tuple(USUAL_REGION))
    running = [(number, machine.type) for number, machine in field.machines.items()]
    if option.instance_type is not None:
        found = [item for item in running if item[1].name == option.instance_type]
        number, region_name = (found[0][0], option.region) if found else (None, None)
    else:
        number, region_name = usual_type(option.requirements, running, clouds)
    if number is None:
        return None
    machine = field.machines[number]
    wanted = region_name or USUAL_REGION.get(machine.type.cloud)
    for row in book.price_rows(depth=None, type_ids=[number]):
        if not row[1] and regions[row[2]].name == wanted:
            offer = book.offer(number, 0, row[2])
            pace = machine.pace_in(row[2])
            return make_quote(ask, machine.power_w, pace, offer, regions[row[2]], option.disk_gb)
    return None


def _near_miss(chooser: Chooser, selection: Selection) -> NearMiss:
    """The least deadline, and the least budget, that would have let a machine that stays in."""
    budget, deadline_s = chooser.budget, chooser.ask.deadline_s
    near = [
        (refusal, usd)
        for refusal in selection.refusals
        if not refusal.candidate.spot and (refusal.needs_s or refusal.needs_usd)
        if (usd := chooser.needed_usd(refusal)) is not None
    ]
    # What is too slow was not held to the budget yet; what is too dear is in time.
    slow = [(r, r.needs_s) for r, usd in near if r.needs_s and (budget is None or usd <= budget)]
    dear = [(r, usd) for r, usd in near if r.needs_usd]
    together = bool(near) and not slow and not dear
    if together:
        assert budget is not None
        assert deadline_s is not None
        # The one that misses both by least, as a factor.
        misses = [(max((r.needs_s or 0) / deadline_s, usd / budget), r, usd) for r, usd in near]
        _, best, usd = min(misses, key=itemgetter(0))
        slow, dear = [(best, best.needs_s or 0)], [(best, usd)]
    fastest = min(slow, key=itemgetter(1), default=None)
    cheapest = min(dear, key=itemgetter(1), default=None)
    return NearMiss(
        deadline_s=fastest[1] if fastest else None,
        deadline_with=_name(fastest[0]) if fastest else None,
        budget_usd=Decimal(cheapest[1]).quantize(MICRO_USD, ROUND_CEILING) if cheapest else None,
        budget_with=_name(cheapest[0]) if cheapest else None,
        together=together,
    )


def _name(refusal: Refusal) -> str:
    return refusal.candidate.machine.type.name
