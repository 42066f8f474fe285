"""`max_price_per_hour`: what all machines of a run may cost an hour."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import Rule, RunContext, Section, Subject


@dataclass(frozen=True, slots=True)
class MaxPricePerHour(Rule):
    """Machines that cost more an hour, all nodes together."""

    most_usd: Decimal
    example: ClassVar[str] = "12 USD"

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount; `/h` or `per hour` may follow it."""
        most = file.value(
            key, lambda text: file.money_usd(re.sub(r"\s*(/|per )\s*(h|hour)$", "", text.strip()))
        )
        return None if most is None else cls(most)

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By the price of all nodes."""
        if subject.price_per_hour_usd <= self.most_usd:
            return None
        return f"{subject.price_per_hour_usd} USD an hour is above {self.most_usd}"
