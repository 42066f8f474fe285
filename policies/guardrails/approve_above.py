"""`approve_above`: reservations that need somebody's recorded yes."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    Approval,
    Rule,
    RunContext,
    Section,
    Subject,
    plain_usd,
)


@dataclass(frozen=True, slots=True)
class ApproveAbove(Rule):
    """Reservations of more without an approval of the run, by one of `approvers` if there are."""

    usd: Decimal
    approvers: tuple[str, ...]
    example: ClassVar[str] = "50 USD"
    companions: ClassVar[Mapping[str, str]] = MappingProxyType({"approvers": "[grace]"})
    remedy: ClassVar[str] = (
        "Ask for it: mlbroker approve {job} --user {user} --up-to {usd} --reason TEXT"
    )

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount, and who may approve."""
        approvers = file.names("approvers")
        usd = file.value(key, file.money_usd)
        return None if usd is None else cls(usd, approvers)

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By what is reserved."""
        reservation = run.reservation
        if reservation is UNDECIDED or reservation.usd <= self.usd or self.admitting(run):
            return None
        by = f" by {' or '.join(self.approvers)}" if self.approvers else ""
        return f"{plain_usd(reservation.usd)} USD are above {self.usd} USD and need an approval{by}"

    def admitting(self, run: RunContext) -> Approval | None:
        """The approval that the reservation needs and has; a run uses it up."""
        reservation = run.reservation
        if reservation is UNDECIDED or reservation.usd <= self.usd:
            return None
        for approval in reservation.approvals:
            if (
                approval.job == reservation.job
                and approval.user == run.who.user
                and approval.up_to_usd >= reservation.usd
                and approval.expires_at > reservation.at
                and (not self.approvers or approval.by in self.approvers)
            ):
                return approval
        return None
