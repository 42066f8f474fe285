"""`max_spend_per_day` and `max_spend_per_month`: what all runs of a period may cost together."""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Self

from mlbroker.policies.guardrails.caps import Caps, read_caps
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    Rule,
    Run,
    Section,
    Subject,
    plain_usd,
)


@dataclass(frozen=True, slots=True)
class _MaxSpendPerPeriod(Rule):
    """Reservations beyond a cap on a period of UTC. What others hold counts as spent."""

    caps: Caps
    remedy: ClassVar[str] = (
        "Wait until open runs are settled (mlbroker ledger), or give a lower --budget."
    )

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount, or amounts by user and project."""
        caps = read_caps(file, key)
        return None if caps is None else cls(caps)

    def why_not(self, subject: Subject, run: Run) -> str | None:
        """Nothing to say before the money is about to be reserved."""
        reservation = run.reservation
        if reservation is UNDECIDED:
            return None
        since = self.beginning(
            reservation.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        )
        counted = [c for c in reservation.committed if c.open or c.at >= since]
        for cap in self.caps.on(run.who):
            spent = sum((c.usd for c in counted if cap.concerns(c.who)), Decimal(0))
            if spent + reservation.usd > cap.usd:
                why = f"{plain_usd(reservation.usd)} USD on top of {plain_usd(spent)} USD"
                return f"{why} spent or reserved pass the {cap.usd} USD {cap.name}"
        return None

    @abstractmethod
    def beginning(self, midnight: datetime) -> datetime:
        """When the period began that this day is in."""


class MaxSpendPerDay(_MaxSpendPerPeriod):
    """Reservations by which the day (UTC) would cost more, open runs included."""

    __slots__ = ()
    example: ClassVar[str] = "{total: 100 USD, per_user: 40 USD, users: {ada: 80 USD}}"

    def beginning(self, midnight: datetime) -> datetime:
        """Midnight."""
        return midnight


class MaxSpendPerMonth(_MaxSpendPerPeriod):
    """Reservations by which the month (UTC) would cost more, open runs included."""

    __slots__ = ()
    example: ClassVar[str] = "{per_project: 500 USD, projects: {search: 2000 USD}}"

    def beginning(self, midnight: datetime) -> datetime:
        """The first of the month."""
        return midnight.replace(day=1)
