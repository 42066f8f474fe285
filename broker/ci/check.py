"""The check of a change: every job it touches priced before and after, with one book."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mlbroker.broker.ci.changes import JobChange, why
from mlbroker.broker.ci.context import PricingContext
from mlbroker.broker.ci.pairs import ChangeStatus, JobPair
from mlbroker.broker.ci.priced import PricedJob
from mlbroker.broker.ci.pricer import Pricer
from mlbroker.broker.ci.thresholds import Crossing, Thresholds, crossings
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.prediction import Basis


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over the touched jobs whose figures are known."""

    base_cost_usd: Decimal
    head_cost_usd: Decimal
    base_monthly_usd: Decimal
    head_monthly_usd: Decimal
    base_carbon_kg: float
    head_carbon_kg: float


@dataclass(frozen=True, slots=True)
class CostCheck:
    """Everything a format needs. `compared_to` says in words with what, None for nothing."""

    jobs: Sequence[JobChange]
    crossed: Sequence[Crossing]
    snapshot: Snapshot
    generated_at: datetime
    compared_to: str | None
    base_commit: str | None

    @property
    def touched(self) -> list[JobChange]:
        """Added, removed, changed and broken jobs."""
        return [job for job in self.jobs if job.touched]

    @property
    def broken(self) -> list[JobChange]:
        """Jobs whose files cannot be read."""
        return [job for job in self.jobs if job.status is ChangeStatus.BROKEN]

    @property
    def infeasible(self) -> list[JobChange]:
        """Jobs that no machine can do as they are now."""
        return [job for job in self.touched if job.head is not None and job.head.problem]

    @property
    def guessed(self) -> list[JobChange]:
        """Jobs whose time is a guess from data sheets."""
        return [
            job
            for job in self.touched
            if job.head is not None
            and job.head.quote is not None
            and job.head.quote.basis is Basis.DATASHEET
        ]

    @property
    def total(self) -> Total:
        """What the change costs."""
        before = [job.base for job in self.touched if job.base is not None]
        after = [job.head for job in self.touched if job.head is not None]
        return Total(
            _money(side.cost_usd for side in before),
            _money(side.cost_usd for side in after),
            _money(side.monthly_usd for side in before),
            _money(side.monthly_usd for side in after),
            sum(side.carbon_kg or 0.0 for side in before),
            sum(side.carbon_kg or 0.0 for side in after),
        )

    def count(self, status: ChangeStatus) -> int:
        """How many jobs have this status."""
        return sum(job.status is status for job in self.jobs)


def check_change(
    pairs: Iterable[JobPair],
    pricer: Pricer,
    contexts: tuple[PricingContext, PricingContext],
    limits: Thresholds,
    now: datetime,
    compared_to: str | None,
    base_commit: str | None,
) -> CostCheck:
    """Price both sides of what changed; `contexts` are the base's and now."""
    then, current = contexts
    jobs = []
    for pair in pairs:
        status = pair.status
        if status is ChangeStatus.UNCHANGED and then is not current and pair.head is not None:
            # The same job with other measurements, or under another policy, costs something else.
            same = then.inputs(pair.head) == current.inputs(pair.head)
            status = status if same else ChangeStatus.CHANGED
        if status in (ChangeStatus.UNCHANGED, ChangeStatus.BROKEN):
            # Both sides of an unchanged job are one; where there are many, none is read.
            side = pricer.price(pair.head, current) if pair.head else None
            jobs.append(JobChange(pair, status, side, side))
            continue
        base = None if pair.base is None else pricer.price(pair.base, then)
        head = None if pair.head is None else pricer.price(pair.head, current)
        void: Sequence[str] = ()
        if pair.head is not None and status is ChangeStatus.CHANGED:
            void = current.known.void(pair.head.job)
        notes = [f"measurements: an earlier profile no longer holds, {reason}" for reason in void]
        jobs.append(JobChange(pair, status, base, head, why(pair, base, head, notes)))
    return _finish(jobs, pricer, limits, now, compared_to, base_commit)


def check_against(
    pairs: Iterable[JobPair],
    saved: Mapping[tuple[str, str], PricedJob],
    saved_snapshot: str,
    pricer: Pricer,
    context: PricingContext,
    limits: Thresholds,
    now: datetime,
    compared_to: str,
) -> CostCheck:
    """Price the jobs as they are now, beside the figures of an earlier check."""
    repriced = saved_snapshot != pricer.book.snapshot.id
    prices = (
        [f"prices: the book is another ({saved_snapshot} → {pricer.book.snapshot.id})"]
        if repriced
        else []
    )
    open_sides = dict(saved)
    jobs = []
    for pair in pairs:
        if pair.head is None:
            jobs.append(
                JobChange(pair, pair.status, open_sides.pop((pair.path, pair.name), None), None)
            )
            continue
        base = open_sides.pop((pair.path, pair.name), None)
        head = base if base and not repriced else None
        if head is None or head.inputs != context.inputs(pair.head):
            head = pricer.price(pair.head, context)
        if base is None:
            jobs.append(JobChange(pair, ChangeStatus.ADDED, None, head))
        elif base.inputs == head.inputs and base.cost_usd == head.cost_usd:
            jobs.append(JobChange(pair, ChangeStatus.UNCHANGED, base, head))
        else:
            reasons = why(pair, base, head, prices)
            jobs.append(JobChange(pair, ChangeStatus.CHANGED, base, head, reasons))
    jobs += [
        JobChange(JobPair(path, name, ChangeStatus.REMOVED), ChangeStatus.REMOVED, side, None)
        for (path, name), side in open_sides.items()
    ]
    return _finish(jobs, pricer, limits, now, compared_to, None)


def _finish(
    jobs: list[JobChange],
    pricer: Pricer,
    limits: Thresholds,
    now: datetime,
    compared_to: str | None,
    base_commit: str | None,
) -> CostCheck:
    jobs.sort(key=lambda job: (job.pair.path, job.pair.name))
    snapshot = pricer.book.snapshot
    return CostCheck(jobs, crossings(jobs, limits), snapshot, now, compared_to, base_commit)


def _money(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), Decimal(0))
