"""The check of a change: every job it touches priced before and after, with one book."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mlbroker.broker.ci.changes import Line, why
from mlbroker.broker.ci.context import Moment
from mlbroker.broker.ci.limits import Crossing, Limits, crossings
from mlbroker.broker.ci.pairs import JobPair, Status
from mlbroker.broker.ci.priced import Side
from mlbroker.broker.ci.pricer import Pricer
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
class Check:
    """Everything a format needs. `compared_to` says in words with what, None for nothing."""

    lines: Sequence[Line]
    crossed: Sequence[Crossing]
    snapshot: Snapshot
    generated_at: datetime
    compared_to: str | None
    base_commit: str | None

    @property
    def touched(self) -> list[Line]:
        """Added, removed, changed and broken jobs."""
        return [line for line in self.lines if line.touched]

    @property
    def broken(self) -> list[Line]:
        """Jobs whose files cannot be read."""
        return [line for line in self.lines if line.status is Status.BROKEN]

    @property
    def infeasible(self) -> list[Line]:
        """Jobs that no machine can do as they are now."""
        return [line for line in self.touched if line.head is not None and line.head.problem]

    @property
    def guessed(self) -> list[Line]:
        """Jobs whose time is a guess from data sheets."""
        return [
            line
            for line in self.touched
            if line.head is not None
            and line.head.quote is not None
            and line.head.quote.basis is Basis.DATASHEET
        ]

    @property
    def total(self) -> Total:
        """What the change costs."""
        before = [line.base for line in self.touched if line.base is not None]
        after = [line.head for line in self.touched if line.head is not None]
        return Total(
            _money(side.cost_usd for side in before),
            _money(side.cost_usd for side in after),
            _money(side.monthly_usd for side in before),
            _money(side.monthly_usd for side in after),
            sum(side.carbon_kg or 0.0 for side in before),
            sum(side.carbon_kg or 0.0 for side in after),
        )

    def count(self, status: Status) -> int:
        """How many jobs have this status."""
        return sum(line.status is status for line in self.lines)


def check_change(
    pairs: Iterable[JobPair],
    pricer: Pricer,
    moments: tuple[Moment, Moment],
    limits: Limits,
    now: datetime,
    compared_to: str | None,
    base_commit: str | None,
) -> Check:
    """Price both sides of what changed; `moments` are the base's and now."""
    then, current = moments
    lines = []
    for pair in pairs:
        status = pair.status
        if status is Status.UNCHANGED and then is not current and pair.head is not None:
            # The same job with other measurements, or under another policy, costs something else.
            same = then.inputs(pair.head) == current.inputs(pair.head)
            status = status if same else Status.CHANGED
        if status in (Status.UNCHANGED, Status.BROKEN):
            # Both sides of an unchanged job are one; where there are many, none is read.
            side = pricer.price(pair.head, current) if pair.head else None
            lines.append(Line(pair, status, side, side))
            continue
        base = None if pair.base is None else pricer.price(pair.base, then)
        head = None if pair.head is None else pricer.price(pair.head, current)
        void = current.known.void(pair.head.job) if pair.head and status is Status.CHANGED else ()
        context = [f"measurements: an earlier profile no longer holds, {reason}" for reason in void]
        lines.append(Line(pair, status, base, head, why(pair, base, head, context)))
    return _finish(lines, pricer, limits, now, compared_to, base_commit)


def check_against(
    pairs: Iterable[JobPair],
    saved: Mapping[tuple[str, str], Side],
    saved_snapshot: str,
    pricer: Pricer,
    moment: Moment,
    limits: Limits,
    now: datetime,
    compared_to: str,
) -> Check:
    """Price the jobs as they are now, beside the figures of an earlier check."""
    repriced = saved_snapshot != pricer.book.snapshot.id
    prices = (
        [f"prices: the book is another ({saved_snapshot} → {pricer.book.snapshot.id})"]
        if repriced
        else []
    )
    open_sides = dict(saved)
    lines = []
    for pair in pairs:
        if pair.head is None:
            lines.append(
                Line(pair, pair.status, open_sides.pop((pair.path, pair.name), None), None)
            )
            continue
        base = open_sides.pop((pair.path, pair.name), None)
        head = base if base and not repriced else None
        if head is None or head.inputs != moment.inputs(pair.head):
            head = pricer.price(pair.head, moment)
        if base is None:
            lines.append(Line(pair, Status.ADDED, None, head))
        elif base.inputs == head.inputs and base.cost_usd == head.cost_usd:
            lines.append(Line(pair, Status.UNCHANGED, base, head))
        else:
            lines.append(Line(pair, Status.CHANGED, base, head, why(pair, base, head, prices)))
    lines += [
        Line(JobPair(path, name, Status.REMOVED), Status.REMOVED, side, None)
        for (path, name), side in open_sides.items()
    ]
    return _finish(lines, pricer, limits, now, compared_to, None)


def _finish(
    lines: list[Line],
    pricer: Pricer,
    limits: Limits,
    now: datetime,
    compared_to: str | None,
    base_commit: str | None,
) -> Check:
    lines.sort(key=lambda line: (line.pair.path, line.pair.name))
    snapshot = pricer.book.snapshot
    return Check(lines, crossings(lines, limits), snapshot, now, compared_to, base_commit)


def _money(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), Decimal(0))
