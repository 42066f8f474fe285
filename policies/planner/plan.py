"""What is asked of the planner, and its answer: a decision with all that explains it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.policies.candidates import Filters
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.quote import Quote, Reason, Rejection
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

TOP = 10


class PlanRequest(NamedTuple):
    """A job and all that its decision depends on, but for the prices and the time.

    `judge` knows the user's policy. `top` quotes are worked out (0: all feasible ones); every
    single rejection is told only with `explain`, or when nothing is feasible.
    """

    job: Job
    evidence: Evidence
    filters: Filters = Filters()
    judge: "Judge | None" = None
    top: int = TOP
    explain: bool = False


class NearMiss(NamedTuple):
    """What would have to change for anything to be feasible: the least sufficient limits.

    Either of them does by itself; or, `together`, the one machine needs both.
    """

    deadline_s: float | None
    deadline_with: str | None
    budget_usd: Decimal | None
    budget_with: str | None
    together: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision with everything needed to explain it."""

    job: Job
    generated_at: datetime
    snapshot: Snapshot
    constraints: Constraints
    measurements: int
    choice: Quote | None = None
    quotes: tuple[Quote, ...] = ()
    feasible: int = 0
    rejections: Mapping[Reason, int] = field(default_factory=dict)
    rejected: tuple[Rejection, ...] = ()
    baseline: Quote | None = None
    near_miss: NearMiss | None = None

    @property
    def savings_usd(self) -> Decimal | None:
        """Expected saving of the choice against the baseline."""
        if self.choice is None or self.baseline is None:
            return None
        return self.baseline.cost_usd.expected - self.choice.cost_usd.expected


class Choice(NamedTuple):
    """The quote of the best machine; where there is none, the plan that tells why.

    `deadline_s` counts from now; None where there is no deadline, or it has passed.
    """

    quote: Quote | None
    deadline_s: float | None
    plan: Plan | None = None
