"""Spot that may fall back on demand: what such a run costs, beside the plain rule for spot alone.

It takes a job that saves its state and has a deadline, and a type that is sold both ways in one
region. What a run is expected to cost is looked up in the value of the spot policy's programme
(`spot.programme`), solved for a few levels of the question, which thousands of types share. The
first few quotes are played out (`spot.forecast`) for what a mean does not tell. Another policy that
the job names is played in them (`spot.played`), and all others are as much dearer as those were.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from mlbroker.policies.candidates import Filters, admitted_markets
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.picks import Candidate
from mlbroker.policies.quote import FallsBack, Later, Quote, Watched
from mlbroker.policies.region_costs import RegionCosts
from mlbroker.policies.spot import POLICIES
from mlbroker.policies.spot.auto import PRICE_STEP
from mlbroker.policies.spot.beliefs import Belief, Place
from mlbroker.policies.spot.forecast import Forecast, Work, forecast
from mlbroker.policies.spot.hazards import PREEMPTIONS_PER_H, expected_events
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.played import played
from mlbroker.policies.spot.programme import Question, Solver, solve, upward
from mlbroker.policies.spot.rates import OwnRuns, Rates, believed_rates, usual_rates
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import Market
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ObjectiveKind, SpotPolicy
from mlbroker.profiles.prediction import Quantiles

# A run looks after its machines so often.
TICK_H = 1 / 60
# Work and slack are levelled by this factor: a programme holds for all within it.
_HOURS_FACTOR = 2**0.5
# More slack than this, beyond twice the work, is worth nothing more.
_AMPLE_H = 6.0
# Layers of a programme, as a rule: fewer steps of work where there is much slack.
_LAYERS = 200
_LEAST_STEPS, _MOST_STEPS = 24, 150
# Programmes that one plan asks for at most: a second or two where none was ever solved.
_MOST_PROGRAMMES = 24
# Of the work on demand, before anything was looked up.
_USUAL_SHARE = 0.1
# So many of a plan's quotes are played out, and told what a later deadline would save; `run` asks
# for hundreds, to fail over to.
_PLAYED, _TOLD_OF_LATER = 10, 3
# What more time saves is worth a word from here on.
_WORTH_SHARE, _WORTH_USD = 0.01, 0.01
# More time is asked for in such steps, in hours: the last that is no more than a fifth.
_STEPS_H = (0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168)
_MOST_STEP = 0.2


class Sold(NamedTuple):
    """What is known of the market: `on_demand(type id, region id)` is a machine's price there, if
    any, `regions` are by id, and `own` is what own runs saw of spot machines.
    """

    on_demand: Callable[[int, int], Decimal | None]
    regions: Mapping[int, Region]
    own: OwnRuns


class Case(NamedTuple):
    """One machine in one region that may fall back. Prices an hour are of all nodes, all included.

    `mean_h` is how long the work is expected to take, of which `overrun_h` are so far beyond what
    is reckoned with that they are on demand; `undisturbed_usd` is what the run costs on spot
    machines that nobody takes, and `once_usd` what is due beside the hours for all machines
    that are to be expected; for one it is in `terms`.
    """

    terms: Terms
    rates: Rates
    spot_usd_per_h: float
    on_demand_price_per_hour_usd: Decimal
    mean_h: float
    median_h: float
    sigma_log: float
    overrun_h: float
    undisturbed_usd: float
    once_usd: float
    beside_machines_usd: float  # of `undisturbed_usd`, what is not the machines'
    interruption_rate: float | None
    watched: Watched | None

    @property
    def slack_h(self) -> float:
        """Time that may pass without work."""
        return self.terms.deadline_h - self.terms.work_h

    @property
    def price(self) -> float:
        """As a share of on demand."""
        return self.spot_usd_per_h / self.terms.on_demand_usd_per_h

    @property
    def on_demand_more_usd(self) -> float:
        """What the run costs more where all of it is on demand."""
        more = self.terms.on_demand_usd_per_h - self.spot_usd_per_h
        return more * (self.terms.restart_h + self.mean_h)

    @property
    def most_usd(self) -> float:
        """What a run costs that gets no spot machine at all, as long as it may take."""
        hours = self.terms.restart_h + self.terms.work_h
        return self.terms.on_demand_usd_per_h * hours + self.terms.once_usd


class FallingBack:
    """Cases of one plan."""

    def __init__(
        self,
        constraints: Constraints,
        job: Job,
        both: Mapping[int, bool],
        market: Sold,
        solver: Solver,
    ) -> None:
        self._constraints = constraints
        self._wishes = job.resources
        self._both = both
        self._market = market
        self._solve = solver
        self._asked: set[Question] = set()
        self._shares: list[float] = []
        self._policy = job.spot_policy
        self._dearer: list[float] = []  # than by the programme, where another policy was played
        self._known: dict[Case, float] = {}

    @classmethod
    def of(
        cls,
        constraints: Constraints,
        job: Job,
        filters: Filters,
        market: Sold,
        solver: Solver | None,
    ) -> "FallingBack | None":
        """None where the job is none that may fall back, whatever the machine."""
        both = options_with_both(job, filters)
        limited = constraints.judged and constraints.deadline_s and constraints.checkpoint
        if not limited or not both or constraints.objective.kind is not ObjectiveKind.COST:
            return None
        return cls(constraints, job, both, market, solver or solve)

    def case(self, candidate: Candidate, row: RegionPrice, place: RegionCosts) -> Case | None:
        """The case of a spot price; None where on demand has no price there, or no time."""
        limits, kind = self._constraints, candidate.machine.type
        one_zone = self._both.get(candidate.option)
        if not candidate.spot or one_zone is None:
            return None
        assert limits.deadline_s is not None
        assert limits.checkpoint is not None
        pace = candidate.machine.pace_in(row.region_id)
        deadline_h, work_h = limits.deadline_h, (pace.sure_s - pace.setup_s) / 3600
        restart_h, lost_h = pace.setup_s / 3600, limits.checkpoint.every_s / 3600
        if deadline_h - work_h < 2 * restart_h + lost_h or work_h <= 0:
            return None
        wish, nodes = self._wishes[candidate.option], limits.nodes
        price = self._market.on_demand(row.type_id, row.region_id)
        spot_usd = row.nano_usd_per_hour / NANO_PER_USD
        ceiling = wish.max_price_per_hour_usd
        if price is None or float(price) <= spot_usd or (ceiling is not None and price > ceiling):
            return None
        launch = Launch(spot=False, own_image=bool(wish.image_id))
        if vendor(kind.cloud).not_launchable(kind, launch):
            return None
        undisturbed_s = pace.steady.undisturbed_s
        spot_usd_per_h = (spot_usd + place.usd_per_hour) * nodes
        first_usd = place.once_usd(undisturbed_s)
        terms = Terms(
            work_h=work_h,
            deadline_h=deadline_h,
            on_demand_usd_per_h=(float(price) + place.usd_per_hour) * nodes,
            restart_h=restart_h,
            tick_h=TICK_H,
            lost_h=lost_h,
            budget_usd=None if limits.budget_usd is None else float(limits.budget_usd),
            overlaps=False,
            once_usd=first_usd,
        )
        if not _affordable(terms):
            return None
        band, has_gpu = row.interruption_rate, kind.hardware.gpu is not None
        at = Place(kind.cloud, self._market.regions[row.region_id].name, wish.zone, kind.name)
        belief = self._market.own.belief(at, band, has_gpu=has_gpu)
        if belief is None:
            rates = usual_rates(band, has_gpu=has_gpu, nodes=nodes, one_zone=one_zone)
        else:
            rates = believed_rates(belief, nodes=nodes, one_zone=one_zone)
        mean_h = (undisturbed_s - pace.setup_s) / 3600
        # Each machine brings the checkpoint home, wherever the next one is.
        taken = rates.preemption * expected_events(PREEMPTIONS_PER_H, 0.0, mean_h)
        once_usd = first_usd * (1 + taken)
        return Case(
            terms=terms,
            rates=rates,
            spot_usd_per_h=spot_usd_per_h,
            on_demand_price_per_hour_usd=price,
            mean_h=mean_h,
            median_h=(pace.steady.fixed_s - pace.setup_s + pace.steady.work_median_s) / 3600,
            sigma_log=pace.steady.sigma_log,
            # Somewhere between the work reckoned with and the deadline spot is over.
            overrun_h=pace.steady.mean_beyond_s((work_h + deadline_h) * 1800) / 3600,
            undisturbed_usd=spot_usd_per_h * undisturbed_s / 3600 + once_usd,
            once_usd=once_usd,
            beside_machines_usd=place.usd_per_hour * nodes * undisturbed_s / 3600 + once_usd,
            interruption_rate=band,
            watched=None if belief is None else _watched(belief),
        )

    def about_usd(self, case: Case) -> float:
        """Nearly what the run costs: enough to tell one region from another."""
        share = sum(self._shares) / len(self._shares) if self._shares else _USUAL_SHARE
        return case.undisturbed_usd + share * case.on_demand_more_usd

    def expected_usd(self, case: Case) -> float:
        """What the run costs on average.

        Of a plan's first machines it is looked up; any further ones have as much more than
        undisturbed, against on demand, as those on average.
        """
        found = self._known.get(case)
        if found is None:
            question = self._question(case)
            if question in self._asked or len(self._asked) < _MOST_PROGRAMMES:
                self._asked.add(question)
                found = self._looked_up(case, case.slack_h, question)
                self._shares.append((found - case.undisturbed_usd) / case.on_demand_more_usd)
            else:
                found = self.about_usd(case)
            self._known[case] = found
        return found

    def _looked_up(self, case: Case, slack_h: float, question: Question) -> float:
        """From the value at the level of price that is next to the case's.

        Beside it each hour on spot, of those that are not on demand, costs more or less by as much
        as the prices differ.
        """
        hours, price = case.terms.restart_h + case.mean_h, question.price
        value_h = self._solve(question).value_h(slack_h, case.mean_h)
        spot_h = hours - (value_h - price * hours) / (1 - price)
        usd = (value_h + (case.price - price) * spot_h) * case.terms.on_demand_usd_per_h
        usd += case.overrun_h * (case.terms.on_demand_usd_per_h - case.spot_usd_per_h)
        return max(usd + case.once_usd, case.undisturbed_usd)

    def quoted(self, quote: Quote, case: Case, place: int) -> Quote:
        """The quote with the figures of the case in place of those of spot alone.

        Only the first places are played out; beyond them bounds do: on demand to the end.
        """
        terms, cost = case.terms, quote.cost_usd
        assert cost is not None
        assert quote.duration_h is not None
        assert quote.deadline_probability is not None
        expected_usd = self.expected_usd(case)
        if self._dearer:
            expected_usd *= sum(self._dearer) / len(self._dearer)
        beside = cost.compute + cost.storage + cost.network
        more_usd = max(Decimal(0), _usd(expected_usd) - beside)
        on_demand_share = (expected_usd - case.undisturbed_usd) / case.on_demand_more_usd
        p90_usd, machine_h = case.most_usd, terms.restart_h + case.mean_h
        chance = self._constraints.confidence
        duration_h = Quantiles(*(min(h, terms.deadline_h) for h in quote.duration_h))
        if place < _PLAYED:
            seen = self._played(case)
            if self._policy is not SpotPolicy.AUTO:
                expected_usd = max(case.undisturbed_usd, seen.mean_usd)
                self._dearer.append(expected_usd / self.expected_usd(case))
                more_usd = max(Decimal(0), _usd(expected_usd) - beside)
            p90_usd = max(seen.p90_usd, expected_usd)
            duration_h = Quantiles(seen.finish_p10_h, seen.finish_p50_h, seen.finish_p90_h)
            on_demand_share, machine_h = seen.on_demand_share, seen.machine_h
            chance = max(chance, 1 - seen.late)
        told = self._policy is SpotPolicy.AUTO and place < _TOLD_OF_LATER
        later = self._later(case) if told else ()
        falls_back = FallsBack(
            terms,
            min(1.0, on_demand_share),
            later,
            case.on_demand_price_per_hour_usd,
            case.interruption_rate,
            case.watched,
            self._policy.value,
        )
        risen = 1 + quote.price_width
        kwh = None if quote.power_w is None else quote.power_w / 1000 * machine_h
        grid = quote.grid_intensity_kgco2e_per_kwh
        return quote._replace(
            cost_usd=cost._replace(
                expected=beside + more_usd, p90=_usd(p90_usd * risen), interruptions=more_usd
            ),
            duration_h=duration_h,
            deadline_probability=chance,
            energy_kwh=kwh,
            carbon_kgco2e=None if kwh is None or grid is None else kwh * grid,
            falls_back=falls_back,
            sure_h=terms.deadline_h,
        )

    def _played(self, case: Case) -> Forecast:
        work = Work(case.median_h, case.sigma_log)
        if self._policy is not SpotPolicy.AUTO:
            kind = POLICIES[self._policy]
            return played(case.terms, case.spot_usd_per_h, case.rates, kind, work)
        programme = self._solve(self._question(case))
        return forecast(case.terms, case.spot_usd_per_h, case.rates, programme, work)

    def _later(self, case: Case) -> tuple[Later, ...]:
        """What more time until the deadline would save, where that is worth saying."""
        slack_h, most_h = case.slack_h, case.terms.deadline_h * _MOST_STEP
        step_h = max((h for h in _STEPS_H if h <= most_h), default=_STEPS_H[0])
        question = self._question(case, 4 * step_h)
        now_usd, *later = (
            self._looked_up(case, slack_h + more * step_h, question) for more in (0, 1, 2, 4)
        )
        least_usd, told_usd = max(_WORTH_USD, _WORTH_SHARE * now_usd), 0.0
        found: list[Later] = []
        for more, usd in zip((1, 2, 4), later, strict=True):
            saves = now_usd - usd
            if saves >= told_usd + least_usd:
                found.append(Later(case.terms.deadline_h + more * step_h, _usd(saves)))
                told_usd = saves
        return tuple(found)

    def _question(self, case: Case, more_h: float = 0.0) -> Question:
        """One that covers the case, and so much more time; of other machines it is often the same.

        The deadline is common to all, and of more slack than is worth anything nothing is asked.
        """
        work_h = upward(max(case.mean_h, case.terms.work_h), _HOURS_FACTOR)
        deadline_h = min(case.terms.deadline_h + more_h, 3 * work_h + _AMPLE_H)
        deadline_h = max(work_h, upward(deadline_h, _HOURS_FACTOR))
        steps = _LAYERS * work_h / deadline_h
        price = max(1, round(case.price / PRICE_STEP)) * PRICE_STEP
        return Question(
            work_h=work_h,
            deadline_h=deadline_h,
            restart_h=case.terms.restart_h,
            lost_h=case.terms.lost_h,
            price=min(price, 1 - PRICE_STEP),
            preemption=case.rates.preemption,
            recovery=case.rates.recovery,
            spare=case.rates.spare,
            steps=int(min(_MOST_STEPS, max(_LEAST_STEPS, steps))),
            overlaps=case.terms.overlaps,
        )


def options_with_both(job: Job, filters: Filters) -> dict[int, bool]:
    """The resource options of spot machines that are wanted on demand too, under the same option or
    one that differs in nothing else; and whether each names one zone.
    """
    markets = [admitted_markets(option, filters) for option in job.resources]
    wishes = [option._replace(market=None) for option in job.resources]
    on_demand = [wish for wish, may in zip(wishes, markets, strict=True) if Market.ON_DEMAND in may]
    return {
        number: wish.zone is not None
        for number, (wish, may) in enumerate(zip(wishes, markets, strict=True))
        if Market.SPOT in may and wish in on_demand
    }


def _watched(belief: Belief) -> Watched:
    of_type = belief.machines.type
    return Watched(belief.machines.here.seen, of_type.seen, of_type.hours, of_type.events)


def _affordable(terms: Terms) -> bool:
    """Whether the shell of the budget lets spot be tried at the beginning."""
    if terms.budget_usd is None:
        return True
    hours = terms.work_h + 2 * terms.restart_h + terms.lost_h + terms.tick_h
    return hours * terms.on_demand_usd_per_h + 2 * terms.once_usd <= terms.budget_usd


def _usd(usd: float) -> Decimal:
    return Decimal(usd).quantize(MICRO_USD, ROUND_HALF_EVEN)
