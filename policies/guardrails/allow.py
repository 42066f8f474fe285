"""`allow`: the only machines that runs may use."""

from dataclasses import dataclass
from typing import ClassVar

from mlbroker.policies.guardrails.interface import RunContext, Subject
from mlbroker.policies.guardrails.machines import MachineRule


@dataclass(frozen=True, slots=True)
class Allow(MachineRule):
    """Machines of which any aspect is missing from a list that is there."""

    example: ClassVar[str] = (
        '{clouds: [aws, local], regions: ["eu-*"], families: [m7g, g6], markets: [spot]}'
    )

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """Every list that is there must hold the machine."""
        for words, is_named in self.machines.aspects(subject):
            if not is_named:
                return f"{words} is not among those allowed"
        return None
