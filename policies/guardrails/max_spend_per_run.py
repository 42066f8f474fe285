"""`max_spend_per_run`: what one run may cost."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.caps import Caps, read_caps
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    UNKNOWN,
    Rule,
    RunContext,
    Section,
    Subject,
    plain_usd,
)


@dataclass(frozen=True, slots=True)
class MaxSpendPerRun(Rule):
    """Runs expected to cost more, and reservations of more."""

    caps: Caps
    example: ClassVar[str] = "25 USD"
    remedy: ClassVar[str] = "Give a lower --budget, or have {source} changed."

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount, or amounts by user and project."""
        caps = read_caps(file, key)
        return None if caps is None else cls(caps)

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By what is reserved; before that, by what the machine is expected to cost."""
        usd = subject.cost_usd if run.reservation is UNDECIDED else run.reservation.usd
        if usd is UNDECIDED:
            return None
        for cap in self.caps.on(run.who):
            if usd is UNKNOWN:
                return "what it costs is not known"
            if usd > cap.usd:
                return f"{plain_usd(usd)} USD is above the {cap.usd} USD {cap.name}"
        return None
