"""The policy at launch: asked inside the very transaction that makes the reservation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import Account, Fact, Verdict
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.guardrails import (
    Approval,
    Committed,
    Hit,
    Machine,
    Policy,
    Who,
    approval_for,
    gpu_hits,
    machine_hit,
    spend_hit,
)


@dataclass(frozen=True, slots=True)
class SpendGuard:
    """Whether one more reservation fits under the policy's caps."""

    policy: Policy
    job: str
    who: Who
    now: datetime
    usd: Decimal

    def __call__(self, accounts: Sequence[Account], approvals: Sequence[Fact]) -> Verdict:
        """The ledger's question, with all accounts that matter and all unused approvals."""
        hit = spend_hit(self.policy, committed(accounts), self.now, self.who, self.usd)
        if hit is not None:
            return Verdict(_text(self.policy, hit), _remedy(self.policy, hit, self.job))
        known = [approval_of(fact) for fact in approvals]
        admitted = approval_for(self.policy, known, self.now, self.job, self.who, self.usd)
        if isinstance(admitted, Hit):
            remedy = _remedy(self.policy, admitted, self.job)
            return Verdict(_text(self.policy, admitted), remedy)
        return Verdict(None, None, admitted.id if admitted else None)


def committed(accounts: Sequence[Account]) -> list[Committed]:
    """The ledger's accounts, as the rules look at them."""
    return [Committed(Who(a.user, a.project), a.at, a.open, a.usd) for a in accounts]


def approval_of(fact: Fact) -> Approval:
    """An approval as the ledger keeps it."""
    body = fact.body
    return Approval(
        id=body["id"],
        job=body["job"],
        user=body["user"],
        up_to_usd=Decimal(body["up_to_usd"]),
        by=body["by"],
        expires_at=datetime.fromisoformat(body["expires_at"]),
    )


def machine_of(candidate: LaunchOption) -> Machine:
    """What the rules look at, of a candidate for launch."""
    return Machine(
        cloud=candidate.cloud,
        region=candidate.region,
        instance_type=candidate.instance_type,
        market=candidate.market,
        price_per_hour_usd=candidate.price_per_hour_usd * candidate.nodes,
        gpu=candidate.gpu,
        cost_usd=candidate.expected_usd,
        carbon_kg=candidate.carbon_kg,
    )


def allowed(
    policy: Policy | None, candidates: Sequence[LaunchOption], who: Who, reason: str | None
) -> tuple[LaunchOption, ...]:
    """The candidates that no rule forbids; refused, with the rule, when none is left."""
    if policy is None:
        return tuple(candidates)
    machines = [machine_of(candidate) for candidate in candidates]
    hits = {i: machine_hit(policy, machine, who) for i, machine in enumerate(machines)}
    open_ = [i for i, hit in hits.items() if hit is None]
    needless = gpu_hits(policy, [machines[i] for i in open_], reason)
    hits.update({open_[i]: hit for i, hit in needless.items()})
    left = tuple(c for i, c in enumerate(candidates) if hits[i] is None)
    if not left:
        first = hits[0]
        assert first is not None
        raise RefusedError(
            f"{candidates[0].instance_type}: {_text(policy, first)}",
            hint="`mlbroker policy test` shows every rule that this job meets.",
        )
    return left


def _text(policy: Policy, hit: Hit) -> str:
    return f"{hit.rule} in {Path(policy.source).name}: {hit.why}"


def _remedy(policy: Policy, hit: Hit, job: str) -> str:
    if hit.rule == "approve_above":
        return f"Ask for it: mlbroker approve {job} --up-to USD --reason TEXT"
    if hit.rule == "max_spend_per_run":
        return f"Give a lower --budget, or have {policy.source} changed."
    return "Wait until open runs are settled (mlbroker ledger), or give a lower --budget."
