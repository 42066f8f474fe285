"""The check of a change: its jobs, priced before and after with one book, and their sums."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.ci.thresholds import Crossing
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


def _money(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), Decimal(0))
