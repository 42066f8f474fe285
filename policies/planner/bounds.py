"""What a job costs and takes on a machine at least, worked out for thousands of machines at once.

The chooser has the same bound, of one machine with all that planning knows of it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.policies.burst import credits_run_out
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.outcome import normal_quantile
from mlbroker.policies.region_costs import RegionCosts
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.offer import Market

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge

# Type id, and 1 for spot.
Offered = tuple[int, int]


class Runner(NamedTuple):
    """A type in one market: its cheapest price anywhere, and how long a run on it takes.

    A run of n steps takes `fixed_s` and n times `mean_step_s` on average, `median_step_s` in the
    median, with the spread `sigma_log`.
    """

    usd_per_hour: float
    fixed_s: float
    mean_step_s: float
    median_step_s: float
    sigma_log: float
    offer: Offered
    entry: TypeEntry

    @property
    def market(self) -> Market:
        """How it is sold."""
        return Market.SPOT if self.offer[1] else Market.ON_DEMAND


class Home(NamedTuple):
    """The region where the data lies, which alone costs no traffic: bounded by itself.

    `usd_per_hour` are its prices by type and market; `elsewhere` is what the cloud's other
    regions add to a price at least.
    """

    cloud: str
    place: RegionCosts
    usd_per_hour: Mapping[Offered, float]
    elsewhere: RegionCosts


class Bounds:
    """The bounds of one job. `add_ons` is what each cloud's regions add to a price at least."""

    def __init__(
        self,
        constraints: Constraints,
        judge: "Judge | None",
        add_ons: Mapping[str, RegionCosts],
        home: Home | None,
    ) -> None:
        self._constraints = constraints
        self._add_ons = add_ons
        self._home = home
        self._quantile = normal_quantile(constraints.confidence)
        self._judge = judge

    def costs_usd(self, cloud: str, runners: Sequence[Runner]) -> list[float]:
        """What a run costs at least on each of a cloud's machines."""
        steps, scale, home = self._constraints.steps, self._constraints.nodes / 3600, self._home
        at_home = home is not None and home.cloud == cloud
        add_on = home.elsewhere if home and at_home else self._add_ons[cloud]
        hourly, once = add_on.usd_per_hour, add_on.fixed_usd
        costs = [
            (price + hourly) * scale * (fixed_s + mean_s * steps) + once
            for price, fixed_s, mean_s, *_ in runners
        ]
        if home is None or not at_home:
            return costs
        hourly, once, prices = home.place.usd_per_hour, home.place.fixed_usd, home.usd_per_hour
        for number, (_, fixed_s, mean_s, _, _, offer, _) in enumerate(runners):
            price = prices.get(offer, math.inf)
            usd = (price + hourly) * scale * (fixed_s + mean_s * steps) + once
            if usd < costs[number]:
                costs[number] = usd
        return costs

    def may_do(self, runner: Runner, usd: float) -> bool:
        """Whether a run may be in time, within budget, and within what the policy lets it cost."""
        constraints = self._constraints
        sure_step_s = runner.median_step_s * math.exp(self._quantile * runner.sigma_log)
        sure_s = runner.fixed_s + sure_step_s * constraints.steps
        if constraints.deadline_s is not None and sure_s > constraints.deadline_s:
            return False
        if constraints.budget_usd is not None:
            add_on = self._add_ons[runner.entry.type.cloud]
            hourly = (runner.usd_per_hour + add_on.usd_per_hour) * constraints.nodes
            if hourly * sure_s / 3600 + add_on.fixed_usd > constraints.budget_usd:
                return False
        if credits_run_out(runner.entry.type, sure_s):
            return False
        judged = usd if constraints.judged else None
        return may_be_allowed(self._judge, runner, constraints.nodes, judged)


def may_be_allowed(judge: "Judge | None", runner: Runner, nodes: int, usd: float | None) -> bool:
    """Whether the policy may let a run of this least cost be on such machines somewhere."""
    if judge is None:
        return True
    from mlbroker.policies.guardrails.interface import UNDECIDED, Subject

    subject = Subject.screened(
        runner.entry.type, runner.market, nodes, runner.usd_per_hour,
        region=UNDECIDED, cost_usd=UNDECIDED if usd is None else usd, carbon_kg=UNDECIDED,
    )  # fmt: skip
    return judge.machine(subject) is None
