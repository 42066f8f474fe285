"""The policy at launch: asked before a plan's machines are taken, and once more inside the very
transaction that makes the reservation. Few users have a policy file: without one, nothing of the
rules is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import Account, Fact, Run, Verdict
from mlbroker.broker.runs.order import LaunchOption, Order

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.interface import Reservation, Subject
    from mlbroker.policies.guardrails.judge import Judge


def admitted(judge: "Judge | None", options: Sequence[LaunchOption]) -> tuple[LaunchOption, ...]:
    """The machines that no rule forbids; refused, with the rule, when none is left."""
    if judge is None:
        return tuple(options)
    hits = judge.machines([subject_of(option) for option in options])
    left = tuple(option for option, hit in zip(options, hits, strict=True) if hit is None)
    first = hits[0]
    if not left and first is not None:
        raise RefusedError(
            f"{options[0].instance_type}: {judge.text(first)}",
            hint="`mlbroker policy test` shows every rule that this job meets.",
        )
    return left


@dataclass(frozen=True, slots=True)
class PolicyAdmission:
    """Whether a run that may use these machines may reserve so much."""

    judge: "Judge | None"
    options: Sequence[LaunchOption]
    job: str
    usd: Decimal

    def __call__(
        self, accounts: Sequence[Account], approvals: Sequence[Fact], now: datetime
    ) -> Verdict:
        """The ledger's question: all accounts that matter, all unused approvals, and its time."""
        if self.judge is None:
            return Verdict()
        from mlbroker.policies.guardrails.judge import Hit

        reservation = reservation_of(self.job, now, self.usd, accounts, approvals)
        subjects = [subject_of(option) for option in self.options]
        found = self.judge.reservation(subjects, reservation)
        if isinstance(found, Hit):
            return Verdict(self.judge.text(found), self.judge.remedy(found, self.job, self.usd))
        return Verdict(approval=found.id if found else None)


def admission_of(order: Order, run: Run, usd: Decimal) -> PolicyAdmission:
    """What is asked when a run that queued starts: its policy file as it is now.

    InputError where the file cannot be read.
    """
    judge = None
    if order.policy is not None:
        from mlbroker.broker.files.policy_file import load_policy
        from mlbroker.policies.guardrails.interface import Who
        from mlbroker.policies.guardrails.judge import Judge

        policy = load_policy(Path(order.policy))
        judge = Judge(policy, Who(run.user, run.project), run.details.get("reason"))
    return PolicyAdmission(judge, order.candidates, run.job, usd)


def reservation_of(
    job: str, now: datetime, usd: Decimal, accounts: Sequence[Account], approvals: Sequence[Fact]
) -> "Reservation":
    """What a run is about to hold, beside what the ledger says."""
    from mlbroker.policies.guardrails.interface import Approval, Committed, Reservation, Who

    return Reservation(
        job=job,
        at=now,
        usd=usd,
        committed=tuple(Committed(Who(a.user, a.project), a.at, a.open, a.usd) for a in accounts),
        approvals=tuple(
            Approval(
                id=fact.body["id"],
                job=fact.body["job"],
                user=fact.body["user"],
                up_to_usd=Decimal(fact.body["up_to_usd"]),
                by=fact.body["by"],
                expires_at=datetime.fromisoformat(fact.body["expires_at"]),
            )
            for fact in approvals
        ),
    )


def subject_of(option: LaunchOption) -> "Subject":
    """What the rules look at, of a machine for launch.

    What a run on a machine without a plan costs is decided when it is reserved.
    """
    from mlbroker.policies.guardrails.interface import UNDECIDED, UNKNOWN, Subject

    return Subject(
        cloud=option.cloud,
        region=option.region,
        instance_type=option.instance_type,
        market=option.market,
        nodes=option.nodes,
        price_per_hour_usd=option.price_per_hour_usd * option.nodes,
        gpu=UNKNOWN if option.gpu is None else option.gpu,
        cost_usd=UNDECIDED if option.expected_usd is None else option.expected_usd,
        carbon_kg=UNKNOWN if option.carbon_kg is None else option.carbon_kg,
    )
