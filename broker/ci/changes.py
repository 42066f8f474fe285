"""One job in a check: what it costs before and after the change, and why that differs."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from mlbroker.broker.ci.code import CodeChanges, code_words
from mlbroker.broker.ci.context import Pricer, PricingContext
from mlbroker.broker.ci.pairs import ChangeStatus, JobPair, changed_values, describe_change
from mlbroker.broker.ci.priced import PreviousCheck, PricedJob


@dataclass(frozen=True, slots=True)
class JobChange:
    """A job's pair with both its prices. `reasons` are in words, the kind of each first."""

    pair: JobPair
    status: ChangeStatus
    base: PricedJob | None
    head: PricedJob | None
    reasons: tuple[str, ...] = ()

    @property
    def touched(self) -> bool:
        """Whether the change has to do with this job."""
        return self.status is not ChangeStatus.UNCHANGED

    @property
    def increase(self) -> Decimal | None:
        """Growth of the cost of a run (of a service: of a month) as a fraction.

        None for new, gone and unpriced jobs, and where a job became a service.
        """
        if self.base and self.head and (not self.base.replicas) != (not self.head.replicas):
            return None
        before = self.base.compared_usd if self.base else None
        after = self.head.compared_usd if self.head else None
        return None if not before or after is None else after / before - 1

    @property
    def first_changed_key(self) -> str | None:
        """The first changed value of the file as it is now."""
        base, head = self.pair.base, self.pair.head
        if base is None or head is None:
            return self.key_of("broker", "run")
        changed = (key for key, _, _ in changed_values(base.values, head.values))
        return next((key for key in changed if key in head.lines), self.key_of("run"))

    def key_of(self, *keys: str) -> str | None:
        """The first of `keys` that the file has now."""
        head = self.pair.head
        return None if head is None else next((key for key in keys if key in head.lines), "run")

    def file_line(self, key: str | None) -> int:
        """The line of a key in the file as it is now."""
        head = self.pair.head
        return 1 if head is None or key is None else head.lines.get(key, 1)


def why(
    pair: JobPair, base: PricedJob | None, head: PricedJob | None, context: Iterable[str]
) -> tuple[str, ...]:
    """What differs between the sides: the job, its measurements, the policy; and `context`."""
    reasons = [f"job: {note}" for note in pair.notes]
    if pair.base is not None and pair.head is not None:
        changes = changed_values(pair.base.values, pair.head.values)
        reasons += [f"job: {describe_change(*change)}" for change in changes]
    elif base is not None and head is not None and base.inputs.job != head.inputs.job:
        reasons.append("job: its file changed")
    if base is not None and head is not None:
        if base.inputs.measurements != head.inputs.measurements:
            reasons.append("measurements: others are known now than at the base")
        if base.inputs.policy != head.inputs.policy:
            reasons.append("policy: another one holds now than at the base")
    return (*reasons, *context)


def changes_since(
    pairs: Iterable[JobPair],
    pricer: Pricer,
    then: PricingContext,
    current: PricingContext,
    code: CodeChanges | None = None,
) -> list[JobChange]:
    """Both sides of what changed, each priced as things stood at its moment."""
    return [_change(pair, pricer, then, current, code) for pair in pairs]


def _change(
    pair: JobPair,
    pricer: Pricer,
    then: PricingContext,
    current: PricingContext,
    code: CodeChanges | None,
) -> JobChange:
    status = pair.status
    changed_code = code.of(pair) if code else ()
    if status is ChangeStatus.UNCHANGED and changed_code:
        status = ChangeStatus.CHANGED
    if status is ChangeStatus.UNCHANGED and then is not current and pair.head is not None:
        # The same job with other measurements, or under another policy, costs something else.
        same = then.inputs(pair.head) == current.inputs(pair.head)
        status = status if same else ChangeStatus.CHANGED
    if status in (ChangeStatus.UNCHANGED, ChangeStatus.BROKEN):
        # Both sides of an unchanged job are one; where there are many, none is read.
        side = pricer.price(pair.head, current) if pair.head else None
        return JobChange(pair, status, side, side)
    base = None if pair.base is None else pricer.price(pair.base, then)
    head = None if pair.head is None else pricer.price(pair.head, current)
    since: str | None = None
    if pair.head is not None and status is ChangeStatus.CHANGED:
        since = current.known.changed(pair.head.job)
    notes = [] if since is None else [f"measurements: {since}"]
    if status is ChangeStatus.CHANGED and changed_code and head is not None:
        notes.append(code_words(changed_code, unknown=head.unknown))
    return JobChange(pair, status, base, head, why(pair, base, head, notes))


def changes_against(
    previous: PreviousCheck, pairs: Iterable[JobPair], pricer: Pricer, current: PricingContext
) -> list[JobChange]:
    """The jobs as they are now, beside the figures of an earlier check."""
    book = pricer.book.snapshot.id
    repriced = previous.snapshot != book
    prices = [f"prices: the book is another ({previous.snapshot} → {book})"] if repriced else []
    left = dict(previous.jobs)
    jobs = []
    for pair in pairs:
        base = left.pop((pair.path, pair.name), None)
        if pair.head is None:
            jobs.append(JobChange(pair, pair.status, base, None))
            continue
        head = base if base and not repriced else None
        if head is None or head.inputs != current.inputs(pair.head):
            head = pricer.price(pair.head, current)
        if base is None:
            jobs.append(JobChange(pair, ChangeStatus.ADDED, None, head))
        elif base.inputs == head.inputs and base.cost_usd == head.cost_usd:
            jobs.append(JobChange(pair, ChangeStatus.UNCHANGED, base, head))
        else:
            reasons = why(pair, base, head, prices)
            jobs.append(JobChange(pair, ChangeStatus.CHANGED, base, head, reasons))
    removed = ChangeStatus.REMOVED
    jobs += [JobChange(JobPair(*at, removed), removed, side, None) for at, side in left.items()]
    return jobs
