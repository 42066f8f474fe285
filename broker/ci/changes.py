"""One job in a check: what it costs before and after the change, and why that differs."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from mlbroker.broker.ci.pairs import ChangeStatus, JobPair, changed_values, describe_change
from mlbroker.broker.ci.priced import PricedJob


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
        """Growth of the cost of a run as a fraction; None for new, gone and unpriced jobs."""
        before = self.base.cost_usd if self.base else None
        after = self.head.cost_usd if self.head else None
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
