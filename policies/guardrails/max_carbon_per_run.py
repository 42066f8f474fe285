"""`max_carbon_per_run`: what a run may be expected to emit."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    UNKNOWN,
    Rule,
    RunContext,
    Section,
    Subject,
)


@dataclass(frozen=True, slots=True)
class MaxCarbonPerRun(Rule):
    """Machines on which the run is expected to emit more, or nobody knows how much."""

    most_kg: float
    example: ClassVar[str] = "5 kg"

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """A mass of CO2e, with its unit."""
        most = file.value(key, file.carbon_kg)
        return None if most is None else cls(float(most))

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By what is expected; what nobody knows may be anything."""
        carbon_kg = subject.carbon_kg
        if carbon_kg is UNDECIDED:
            return None
        if carbon_kg is UNKNOWN:
            return "what it emits is not known"
        if carbon_kg <= self.most_kg:
            return None
        return f"{carbon_kg:.3g} kg CO2e is above {self.most_kg:g} kg"
