"""`allow`: the only machines that runs may use."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import Rule, Run, Section, Subject
from mlbroker.policies.guardrails.machines import Machines, read_machines


@dataclass(frozen=True, slots=True)
class Allow(Rule):
    """Machines of which any aspect is missing from a list that is there."""

    machines: Machines
    example: ClassVar[str] = (
        '{clouds: [aws, local], regions: ["eu-*"], families: [m7g, g6], markets: [spot]}'
    )

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """Lists by aspect."""
        machines = read_machines(file, key)
        return None if machines is None else cls(machines)

    def why_not(self, subject: Subject, run: Run) -> str | None:
        """Every list that is there must hold the machine."""
        for aspect in self.machines.aspects(subject):
            if not aspect.is_named:
                return f"{aspect.words} is not among those allowed"
        return None
