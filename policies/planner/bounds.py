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
    def cloud(self) -> str:
        """Whose machine it is."""
        return self.entry.type.cloud

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
        if self.too_slow_s(runner) is not None or self.too_dear_usd(runner) is not None:
            return False
        if self.credits_run_out(runner):
            return False
        return may_be_allowed(self._judge, runner, self._constraints.nodes, usd)

    def credits_run_out(self, runner: Runner) -> bool:
        """Whether it is a burstable machine that would not stay at full speed."""
        return credits_run_out(runner.entry.type, self._sure_s(runner)) is not None

    def too_slow_s(self, runner: Runner) -> float | None:
        """The time a run is sure to take, when that is beyond the deadline."""
        deadline_s = self._constraints.deadline_s
        if deadline_s is None:
            return None
        sure_s = self._sure_s(runner)
        return sure_s if sure_s > deadline_s else None

    def too_dear_usd(self, runner: Runner) -> float | None:
        """What a run surely costs at least, when that is beyond the budget."""
        budget_usd = self._constraints.budget_usd
        if budget_usd is None:
            return None
        add_on = self._add_ons[runner.cloud]
        hourly = (runner.usd_per_hour + add_on.usd_per_hour) * self._constraints.nodes
        usd = hourly * self._sure_s(runner) / 3600 + add_on.fixed_usd
        return usd if usd > budget_usd else None

    def _sure_s(self, runner: Runner) -> float:
        sure_step_s = runner.median_step_s * math.exp(self._quantile * runner.sigma_log)
        return runner.fixed_s + sure_step_s * self._constraints.steps


def may_be_allowed(judge: "Judge | None", runner: Runner, nodes: int, usd: float | None) -> bool:
    """Whether the policy may let a run of this least cost be on such machines somewhere."""
    if judge is None:
        return True
    from mlbroker.policies.guardrails.interface import UNDECIDED
    from mlbroker.policies.guardrails.subjects import screened

    subject = screened(
        runner.entry.type, runner.market, nodes, runner.usd_per_hour,
        region=UNDECIDED, cost_usd=UNDECIDED if usd is None else usd, carbon_kg=UNDECIDED,
    )  # fmt: skip
    return judge.machine(subject) is None
