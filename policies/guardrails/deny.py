"""`deny`: machines that no run may use."""

from dataclasses import dataclass
from typing import ClassVar

from mlbroker.policies.guardrails.interface import RunContext, Subject
from mlbroker.policies.guardrails.machines import MachineRule


@dataclass(frozen=True, slots=True)
class Deny(MachineRule):
    """Machines of which any aspect is on a list."""

    example: ClassVar[str] = '{instance_types: ["*.metal"]}'

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """Any one aspect suffices."""
        for words, is_named in self.machines.aspects(subject):
            if is_named:
                return f"{words} is denied"
        return None
