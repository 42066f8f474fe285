"""The one place where rules are asked: by planner, launch, `check` and `policy test`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_UP, Decimal
from pathlib import PurePath
from shlex import quote

from mlbroker.policies.guardrails.alert_terms import AlertTerms
from mlbroker.policies.guardrails.approve_above import ApproveAbove
from mlbroker.policies.guardrails.interface import (
    UNDECIDED,
    UNKNOWN,
    Approval,
    Missing,
    Reservation,
    Rule,
    RunContext,
    Subject,
    Undecided,
    Who,
)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file, read: what it asks for, by key. `source` is its path, for messages; `teams`
    are users by their team, `shares` what of the own places is a team's when it wants them. `queue`
    is the policy of the queue, `ledger` the database of the team's; None where it says nothing.
    """

    source: str
    rules: Mapping[str, Rule]
    teams: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alerts: AlertTerms = AlertTerms()
    shares: Mapping[str, float] = field(default_factory=dict)
    queue: str | None = None
    ledger: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that forbids: its key in the file, and why."""

    rule: str
    why: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.why}"


@dataclass(frozen=True, slots=True)
class Judge:
    """A policy, whose money it guards, and the reason given for a GPU, if any."""

    policy: Policy
    who: Who
    reason: str | None

    @property
    def compares(self) -> bool:
        """Whether a rule looks at all machines, so that none can be judged by itself."""
        return any(rule.compares for rule in self.policy.rules.values())

    def machine(self, subject: Subject) -> Hit | None:
        """The first rule that forbids this machine, whatever other machines there are."""
        return self._first(subject, self._run())

    def beside(self, subject: Subject, plain: Subject) -> Hit | None:
        """The same where `plain`, without a GPU, is the cheapest such machine that would do."""
        return self._first(subject, self._run(plain=plain))

    def machines(self, subjects: Sequence[Subject]) -> list[Hit | None]:
        """The first rule that forbids each of the machines that a run may choose from."""
        hits = [self.machine(subject) for subject in subjects]
        if not self.compares:
            return hits
        plain = min(
            (s for s, hit in zip(subjects, hits, strict=True) if hit is None and s.gpu is False),
            key=_cost_usd,
            default=None,
        )
        run = self._run(plain=plain)
        return [hit or self._first(s, run) for s, hit in zip(subjects, hits, strict=True)]

    def unjudged(self, subject: Subject) -> list[str]:
        """The rules that need to know cost or carbon of a run of which nobody does."""
        run = self._run()
        decided = {hit.rule for hit in self._hits(subject, run)}
        nobody_knows = replace(subject, cost_usd=UNKNOWN, carbon_kg=UNKNOWN)
        return [hit.rule for hit in self._hits(nobody_knows, run) if hit.rule not in decided]

    def spending(self, subject: Subject, reservation: Reservation) -> Hit | None:
        """The first rule that forbids the reservation, beside those that forbid the machine."""
        known = {hit.rule for hit in self._hits(subject, self._run())}
        hits = self._hits(subject, self._run(reservation=reservation))
        return next((hit for hit in hits if hit.rule not in known), None)

    def reservation(
        self, subjects: Sequence[Subject], reservation: Reservation
    ) -> Hit | Approval | None:
        """The first rule that forbids the reservation of a run that may use these machines, else
        the approval that it uses up, if it needs one.
        """
        forbidden = next((hit for hit in self.machines(subjects) if hit is not None), None)
        # The money is the run's, on whichever machine: it is judged once.
        if hit := forbidden or self.spending(subjects[0], reservation):
            return hit
        approve = self.policy.rules.get("approve_above")
        if not isinstance(approve, ApproveAbove):
            return None
        return approve.admitting(self._run(reservation=reservation))

    def text(self, hit: Hit) -> str:
        """A hit in words, with the file it is from."""
        return f"{hit.rule} in {PurePath(self.policy.source).name}: {hit.why}"

    def remedy(self, hit: Hit, job: str, usd: Decimal) -> str:
        """What can be done about a hit, by a run of this job that is to reserve `usd`."""
        remedy, source = self.policy.rules[hit.rule].remedy, self.policy.source
        cents = f"{usd.quantize(Decimal('0.01'), ROUND_UP).normalize():f}"
        job, user = quote(job), quote(self.who.user)
        return remedy.format(job=job, source=source, user=user, usd=cents)

    def may_approve(self, user: str) -> Hit | None:
        """Why an approval by this user would count for nothing."""
        approve = self.policy.rules.get("approve_above")
        if not isinstance(approve, ApproveAbove) or not approve.approvers:
            return None
        if user in approve.approvers:
            return None
        return Hit("approvers", f"{user} is not among {', '.join(approve.approvers)}")

    def _run(
        self,
        plain: Subject | Undecided | None = UNDECIDED,
        reservation: Reservation | Undecided = UNDECIDED,
    ) -> RunContext:
        return RunContext(self.who, self.reason, plain, reservation)

    def _first(self, subject: Subject, run: RunContext) -> Hit | None:
        return next(self._hits(subject, run), None)

    def _hits(self, subject: Subject, run: RunContext) -> Iterator[Hit]:
        for key, rule in self.policy.rules.items():
            why = rule.why_not(subject, run)
            if why is not None:
                yield Hit(key, why)


def _cost_usd(subject: Subject) -> Decimal:
    usd = subject.cost_usd
    return Decimal("Infinity") if isinstance(usd, Missing) else usd
