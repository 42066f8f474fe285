"""The check of a change: its jobs, priced before and after with one book, their sums and limits."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.ci.priced import PricedJob
from mlbroker.broker.ci.wholes import wholes
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_number
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count, money
from mlbroker.pricing.book import Snapshot


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Upper limits for each job that a change touches. None limits nothing.

    `max_increase` is a fraction of the cost before; the others are for one run or one month.
    """

    max_increase: Decimal | None = None
    max_cost_usd: Decimal | None = None
    max_monthly_usd: Decimal | None = None
    max_carbon_kg: Decimal | None = None


class Crossing(NamedTuple):
    """A job beyond a limit (named as its option), in words, and the key of its file to look at."""

    job: JobChange
    limit: str
    message: str
    key: str | None


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
    """Everything a format needs. `compared_to` says in words with what, None for nothing.

    `unjudged` are limits of jobs of which nobody knows how long they take: neither kept nor
    crossed.
    """

    jobs: Sequence[JobChange]
    crossed: Sequence[Crossing]
    unjudged: Sequence[Crossing]
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
        """Jobs that no machine can do as they are now, and services that no budget pays for."""
        return [job for job in self.touched if job.head is not None and job.head.problem]

    @property
    def services(self) -> list[JobChange]:
        """Services and pools, which never end: what a run of them costs is no question."""
        return [job for job in self.touched if any(s and s.replicas for s in (job.base, job.head))]

    @property
    def unknown(self) -> list[JobChange]:
        """Jobs that were never measured, so that nobody knows what a run costs."""
        return [job for job in self.touched if job.head is not None and job.head.unknown]

    @property
    def total(self) -> Total:
        """What the change costs. A job unknown before or after is in neither sum."""
        sides = [(job.base, job.head) for job in self.touched]
        both = [
            pair for pair in sides if not any(side is not None and side.unknown for side in pair)
        ]
        before = [base for base, _ in both if base is not None]
        after = [head for _, head in both if head is not None]
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


def crossings(jobs: Iterable[JobChange], limits: Thresholds) -> list[Crossing]:
    """Every limit that a touched job crosses, or a pipeline as a whole. What is new has no
    increase, nor what is unknown.
    """
    return [found for job in wholes(jobs) if job.touched for found in _of(job, limits)]


def unjudged(jobs: Iterable[JobChange], limits: Thresholds) -> list[Crossing]:
    """Every limit that cannot be held against a touched job, as nobody knows how long it takes."""
    return [found for job in wholes(jobs) if job.touched for found in _unjudged(job, limits)]


def _unjudged(job: JobChange, limits: Thresholds) -> Iterable[Crossing]:
    head, base = job.head, job.base
    if head is None or head.quote is None:
        return
    asked = {
        "max-increase": limits.max_increase is not None and base is not None,
        "max-cost": limits.max_cost_usd is not None and not _capped(head, limits.max_cost_usd),
        "max-monthly": limits.max_monthly_usd is not None and head.runs_per_month is not None,
        "max-carbon": limits.max_carbon_kg is not None,
    }
    why, key = "what a run costs is unknown until measured", job.key_of("broker.work", "run")
    if head.unknown:
        for limit in (name for name, is_asked in asked.items() if is_asked):
            yield Crossing(job, limit, f"could not be judged: {why}", key)
        for rule in head.unjudged:
            yield Crossing(job, "policy", f"{rule} could not be judged: {why}", key)
    elif base is not None and base.unknown and asked["max-increase"]:
        before = "could not be judged: what a run cost before was never measured"
        yield Crossing(job, "max-increase", before, key)


def _capped(head: PricedJob, most_usd: Decimal) -> bool:
    """Whether a study cannot come to more, whatever its trials take."""
    cap_usd = None if head.study is None else head.study.cap_usd
    return cap_usd is not None and cap_usd <= most_usd


def _of(job: JobChange, limits: Thresholds) -> Iterable[Crossing]:
    head = job.head
    if head is not None and head.forbidden is not None:
        message = f"is forbidden by the policy file: {head.forbidden}"
        yield Crossing(job, "policy", message, job.key_of("resources", "run"))
    if head is None or head.compared_usd is None:
        return
    share, unit = job.increase, "month" if head.replicas else head.unit
    if limits.max_increase is not None and share is not None and share > limits.max_increase:
        assert job.base is not None
        assert job.base.compared_usd is not None
        yield Crossing(
            job,
            "max-increase",
            f"costs {share:.1%} more ({money(job.base.compared_usd)} →"
            f" {money(head.compared_usd)} USD a {unit}), {limits.max_increase:.1%} are allowed",
            job.first_changed_key,
        )
    if limits.max_cost_usd is not None and (head.cost_usd or 0) > limits.max_cost_usd:
        assert head.cost_usd is not None
        yield Crossing(
            job,
            "max-cost",
            f"costs {money(head.cost_usd)} USD a {head.unit},"
            f" {money(limits.max_cost_usd)} are allowed",
            job.key_of("broker.work", "resources"),
        )
    monthly = head.monthly_usd
    most = limits.max_monthly_usd
    if most is not None and monthly is not None and monthly > most:
        yield Crossing(
            job,
            "max-monthly",
            f"costs {money(monthly)} USD a month ({_counted(head)}), {money(most)} are allowed",
            job.key_of("broker.runs_per_month", "service", "pool"),
        )
    carbon = head.carbon_kg
    heaviest = limits.max_carbon_kg
    if heaviest is not None and carbon is not None and carbon > heaviest:
        yield Crossing(
            job,
            "max-carbon",
            f"emits {carbon:.3g} kg CO2e a {head.unit}, {heaviest} are allowed",
            job.key_of("broker.work", "resources"),
        )


def _counted(head: PricedJob) -> str:
    if head.replicas is not None:
        return count(head.replicas.most, "replica")
    return f"{head.runs_per_month} runs"


def parse_share(text: str) -> Decimal:
    """`10%` as 0.10."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*%\s*", text, re.A)
    if found is None:
        raise InputError(f"{quoted(text)} is not a percentage", hint="write 10%")
    return parse_number(found[1]) / 100


def parse_carbon_kg(text: str) -> Decimal:
    """`5` or `5 kg` of CO2e."""
    return parse_number(re.sub(r"\s*kg$", "", text.strip()))
