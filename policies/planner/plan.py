"""What is asked of the planner, and its answer: a decision with all that explains it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.policies.candidates import Filters
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.picks import Pick
from mlbroker.policies.quote import Quote, Reason, Rejection
from mlbroker.pricing.book import Snapshot
from mlbroker.pricing.offer import Market
from mlbroker.profiles.batch import BatchAt
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Basis, Evidence
from mlbroker.profiles.probe_advice import Offered

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge
    from mlbroker.policies.spot.programme import Solver
    from mlbroker.policies.spot.rates import OwnRuns

TOP = 10
# Where to measure next is asked of so many of the best machines, however many are shown.
PROBE_OFFERS = 40


class PlanRequest(NamedTuple):
    """A job and all that its decision depends on, but for the prices and the time.

    `judge` knows the user's policy. `top` quotes are worked out (0: all feasible ones); every
    single rejection is told only with `explain`. With `advise`, the plan has `probe_offers`.
    `solver` solves the spot policy's programmes, and may know some already; `own_runs` is what the
    user's own runs saw of spot machines. `keep` tells which picks are worth a quote, where these
    are not simply the best.
    """

    job: Job
    evidence: Evidence
    filters: Filters = Filters()
    judge: "Judge | None" = None
    top: int = TOP
    explain: bool = False
    advise: bool = False
    solver: "Solver | None" = None
    keep: Callable[[Sequence[Pick]], Sequence[Pick]] | None = None
    own_runs: "OwnRuns | None" = None


class LeftOut(NamedTuple):
    """A type that meets the job's needs, and is out only for `reason`: retired, or by flags.

    `would_do` tells whether it keeps deadline, budget and policy as well.
    """

    cloud: str
    instance_type: str
    reason: Reason
    would_do: bool


class NearMiss(NamedTuple):
    """What would have to change for anything to be feasible: the least sufficient limits.

    Either of them does by itself; or, `together`, the one machine needs both. `left_out` are types
    that somebody would have to name.
    """

    deadline_s: float | None
    deadline_with: str | None
    deadline_market: Market | None
    budget_usd: Decimal | None
    budget_with: str | None
    budget_market: Market | None
    together: bool
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision with everything needed to explain it.

    `probe_offers` are the best machines, best first, as places to measure on.
    Where it is not `known` how long the job takes, quotes are by the hour, and the limits named in
    `unjudged` (deadline, budget, keys of the policy) were not looked at.
    `examples` and `near_miss` are there when nothing is feasible: one rejection for each reason,
    and what would have to change. `at_batches` is the choice's machine at every batch it has memory
    for, where the batch is to be chosen too.
    """

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
    examples: Mapping[Reason, Rejection] = field(default_factory=dict)
    baseline: Quote | None = None
    probe_offers: tuple[Offered, ...] = ()
    near_miss: NearMiss | None = None
    known: bool = True
    unjudged: tuple[str, ...] = ()
    at_batches: "tuple[WholeAt, ...]" = ()

    @property
    def savings_usd(self) -> Decimal | None:
        """Expected saving of the choice against the baseline."""
        usual, chosen = (quote and quote.cost_usd for quote in (self.baseline, self.choice))
        return None if usual is None or chosen is None else usual.expected - chosen.expected


class WholeAt(NamedTuple):
    """A step and the whole job, set-up included, at a batch on the machine chosen: medians."""

    batch: BatchAt
    step_s: float
    whole_s: float
    basis: Basis


class Choice(NamedTuple):
    """The quote of the best machine; where there is none, the plan that tells why.

    `deadline_s` counts from now; None where there is no deadline, or it has passed.
    """

    quote: Quote | None
    deadline_s: float | None
    plan: Plan | None = None
