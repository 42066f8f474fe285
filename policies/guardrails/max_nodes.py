"""`max_nodes`: how many machines a run may have at once."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import Rule, RunContext, Section, Subject


@dataclass(frozen=True, slots=True)
class MaxNodes(Rule):
    """Runs of more machines than this."""

    most: int
    example: ClassVar[str] = "4"

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """A whole number."""
        most = file.value(key, file.count)
        return None if most is None else cls(most)

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By the number of nodes alone."""
        if subject.nodes <= self.most:
            return None
        return f"{subject.nodes} nodes are more than {self.most}"
