"""`gpu_needs_reason`: no GPU without a word where a machine without one would do."""

from dataclasses import dataclass
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    Missing,
    Rule,
    RunContext,
    Section,
    Subject,
    plain_usd,
)


@dataclass(frozen=True, slots=True)
class GpuNeedsReason(Rule):
    """GPU machines without `--reason TEXT`, where one without a GPU meets the deadline or may."""

    example: ClassVar[str] = "true"
    compares: ClassVar[bool] = True

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """True or false."""
        return cls() if file.value(key, file.flag) else None

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """What may have a GPU counts as having one."""
        plain = run.plain
        if plain is UNDECIDED or plain is None or run.reason or subject.gpu is False:
            return None
        usd = plain.cost_usd
        if isinstance(usd, Missing):
            return (
                f"the job was never measured, so {plain.instance_type} may do without a GPU;"
                " measure it, or state a reason to use one"
            )
        return (
            f"{plain.instance_type} meets the deadline without a GPU for {plain_usd(usd)} USD;"
            " state a reason to use one"
        )
