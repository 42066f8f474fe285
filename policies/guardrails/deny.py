"""`deny`: machines that no run may use."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import Rule, Run, Section, Subject
from mlbroker.policies.guardrails.machines import Machines, read_machines


@dataclass(frozen=True, slots=True)
class Deny(Rule):
    """Machines of which any aspect is on a list."""

    machines: Machines
    example: ClassVar[str] = '{instance_types: ["*.metal"]}'

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """Lists by aspect."""
        machines = read_machines(file, key)
        return None if machines is None else cls(machines)

    def why_not(self, subject: Subject, run: Run) -> str | None:
        """Any one aspect suffices."""
        for aspect in self.machines.aspects(subject):
            if aspect.is_named:
                return f"{aspect.words} is denied"
        return None
