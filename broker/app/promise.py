"""What a run was expected to come to, and what it had come to elsewhere: for the books.

Reports hold what became of it against this, so it is written down when the run is reserved.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

from mlbroker.broker.clouds import CLOUDS, opener
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger.state import BASELINE, PREDICTION, RENTED
from mlbroker.broker.prices.price_book import has_index, open_book
from mlbroker.broker.runs import launch
from mlbroker.broker.runs.launch_options import planned
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.broker.words import exact_usd
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.power import METHOD
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job
from mlbroker.profiles.prediction import Evidence, Quantiles

_CENT = Decimal("0.01")


class Beside(NamedTuple):
    """The quotes that a run's cost is compared with: of the machine that people usually take, and
    of the best one that is for rent. None where there is none, or nobody knows.
    """

    baseline: Quote | None = None
    rented: Quote | None = None

    @classmethod
    def of_plan(cls, plan: Plan) -> "Beside":
        """Of a plan whose choice is taken."""
        rented = (quote for quote in plan.quotes if not vendor(quote.cloud).own)
        return cls(plan.baseline, next(rented, None))

    @classmethod
    def of_own(cls, evidence: Evidence, state: Path, now: datetime) -> "Beside":
        """Of a machine of the user's own that was named, where jobs were planned before."""
        known = evidence.measurements or evidence.job.takes is not None
        if not (known and has_index(state)):
            return cls()
        request = PlanRequest(evidence.job, evidence, top=1)
        try:
            return cls.of_plan(Planner(open_book(state, None), now).plan(request))
        except MlbrokerError:
            return cls()  # the run stands on none of it


def enough_usd(
    hours: Quantiles | None,
    option: LaunchOption,
    lifetime_s: Decimal,
    guest_late_s: int,
    state: Path,
) -> Decimal | None:
    """The least cap in cents with which nine runs of ten, of so many hours, come to their end; None
    where they do within `lifetime_s`, or nobody knows how long they take.

    A plan's cost is of the time that is used; a cap also pays for how late a machine's end may be.
    """
    if hours is None:
        return None
    sure_s = Decimal(math.ceil(hours.p90 * 3600))
    if sure_s <= lifetime_s:
        return None
    traits = opener(state)(option.cloud).traits
    # A life that comes in steps is cut to the last whole one.
    cap_usd = launch.cap_usd_for(option, sure_s + traits.lifetime_step_s, traits, guest_late_s)
    return cap_usd.quantize(_CENT, ROUND_UP)


def enough_for_choice(job: Job, choice: Quote, book: Book, state: Path) -> Decimal | None:
    """`enough_usd` of a plan's choice, as `run` would launch it; None where nothing is to be said.

    Of a service, a study, and what begins on spot and falls back, the end is not of one machine.
    """
    of_many = job.replicas or job.study or choice.falls_back
    if job.budget_usd is None or of_many or choice.cloud not in CLOUDS:
        return None
    (option,) = planned(job, [choice], book, CLOUDS)
    traits = opener(state)(option.cloud).traits
    worst = option.worst_case(job.budget_usd, traits.kill_slack_s, traits.lifetime_step_s)
    lifetime_s = Decimal(0) if worst is None else worst.lifetime_s
    return enough_usd(choice.duration_h, option, lifetime_s, 0, state)


def promised(quote: Quote, beside: Beside, deadline_at: str | None) -> Mapping[str, Any]:
    """The facts: money as decimal strings, hours, kWh and kg; what nobody knows is null."""
    return {
        "deadline_at": deadline_at,
        PREDICTION: _prediction(quote),
        BASELINE: _elsewhere(beside.baseline),
        RENTED: _elsewhere(beside.rented),
    }


def _prediction(quote: Quote) -> dict[str, Any] | None:
    hours, cost = quote.duration_h, quote.cost_usd
    if hours is None or cost is None:
        return None
    # Of spot that falls back, hours cost this or that: only the programme's own figures hold.
    plain = quote.falls_back is None
    return {
        "duration_h": list(hours),
        "command_s": quote.command_s and list(quote.command_s),
        "cost_usd": {
            "p10": _usd(_cost(quote, hours.p10)) if plain else None,
            "p50": _usd(_cost(quote, hours.p50)) if plain else None,
            "p90": _usd(cost.p90),
            "expected": _usd(cost.expected),
        },
        "energy_kwh": quote.energy_kwh,
        "carbon_kgco2e": quote.carbon_kgco2e,
        "coefficients": METHOD,
        "basis": str(quote.basis),
        "evidence": quote.evidence,
        "deadline_probability": quote.deadline_probability,
    }


def _cost(quote: Quote, hours: float) -> Decimal:
    return quote.hourly_usd * Decimal(hours) + quote.once_usd


def _elsewhere(quote: Quote | None) -> dict[str, Any] | None:
    if quote is None or quote.cost_usd is None or quote.duration_h is None:
        return None
    return {
        "cloud": quote.cloud,
        "region": quote.region,
        "instance_type": quote.instance_type,
        "market": str(quote.market),
        "cost_usd": _usd(quote.cost_usd.expected),
        "duration_h": quote.duration_h.p50,
        "energy_kwh": quote.energy_kwh,
        "carbon_kgco2e": quote.carbon_kgco2e,
    }


def _usd(amount: Decimal) -> str:
    return exact_usd(round(amount, 6))
