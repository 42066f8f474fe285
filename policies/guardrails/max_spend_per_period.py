"""`max_spend_per_day` and `max_spend_per_month`: what all runs of a period may cost together."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Self

from mlbroker.policies.guardrails.caps import Caps, read_caps
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    Rule,
    RunContext,
    Section,
    Subject,
    plain_usd,
)
from mlbroker.policies.guardrails.teams import MONTH_CAP, read_teams


@dataclass(frozen=True, slots=True)
class MaxSpendPerPeriod(Rule):
    """Reservations by which the period (of UTC) would cost more, open runs included."""

    caps: Caps
    whole_month: bool
    example: ClassVar[str] = "{total: 500 USD, per_user: 200 USD, users: {ada: 300 USD}}"
    remedy: ClassVar[str] = (
        "Wait until open runs are settled (mlbroker ledger), or give a lower --budget."
    )

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount, or amounts by user and project; those of teams stand with the teams."""
        caps, whole_month = read_caps(file, key), key == MONTH_CAP
        if whole_month:
            told = read_teams(file)
            teams = {n: (t.users, t.month_usd) for n, t in told.items() if t.month_usd is not None}
            caps = replace(caps or Caps(), teams=teams) if teams else caps
        return None if caps is None else cls(caps, whole_month)

    def begin(self, now: datetime) -> datetime:
        """Since when what was spent counts."""
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day.replace(day=1) if self.whole_month else day

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """Nothing to say before money is about to be reserved."""
        reservation = run.reservation
        if reservation is UNDECIDED:
            return None
        since = self.begin(reservation.at)
        counted = [c for c in reservation.committed if c.open or c.at >= since]
        for cap in self.caps.on(run.who):
            spent = sum((c.usd for c in counted if cap.concerns(c.who)), Decimal(0))
            if spent + reservation.usd > cap.usd:
                why = f"{plain_usd(reservation.usd)} USD on top of {plain_usd(spent)} USD"
                return f"{why} spent or reserved pass the {cap.usd} USD {cap.name}"
        return None
