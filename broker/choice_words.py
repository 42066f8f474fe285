"""What a plan chose, how sure that is, and what it rests on: for the terminal and for pages."""

from mlbroker.broker.batch_words import batch_words
from mlbroker.broker.plan_words import MEASURE_OR_SAY, unjudged_words
from mlbroker.broker.words import duration, mass, money
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import ObjectiveKind
from mlbroker.profiles.prediction import Basis

# How sure a time is, is said of what no measurement of the machine or its like stands behind.
_DOUBTED = (Basis.PREDICTED, Basis.STATED)


def plan_title(plan: Plan) -> str:
    """The job and what is asked of it, on one line."""
    limits = plan.constraints
    parts = [f"{limits.steps:,} steps"] if limits.steps > 1 else []
    if limits.nodes > 1:
        parts.append(f"{limits.nodes} nodes")
    if limits.deadline_s is not None:
        parts.append(f"deadline {duration(limits.deadline_s)} at {limits.confidence * 100:.4g}%")
    if limits.budget_usd is not None:
        parts.append(f"budget {limits.budget_usd:,} USD")
    return f"{plan.job.name}: {', '.join(parts)}" if parts else plan.job.name


def choice_words(plan: Plan) -> str:
    """The choice of a plan that has one, its cost and time, and what it saves."""
    choice = plan.choice
    assert choice is not None
    arm = ", an ARM machine" if choice.arch == "arm64" else ""
    # What serves a service's traffic for the least is another question.
    begin = "Choose" if plan.job.replicas is None else "Cheapest by the hour:"
    text = (
        f"{begin} {choice.cloud} {choice.instance_type} in {choice.region}"
        f" ({choice.market.replace('_', '-')}{arm}): "
    )
    if choice.cost_usd is None or choice.duration_h is None:
        return text + _hourly_words(plan, choice) + _stale_words(choice)
    at = "" if choice.batch is None else f", at {batch_words(choice.batch)}"
    text += (
        f"{money(choice.cost_usd.expected)} USD,"
        f" {duration(choice.duration_h.p50 * 3600)}{at}. {choice.evidence[:1].upper()}"
        f"{choice.evidence[1:]}"
        + (f"; {interval_words(choice)}." if choice.basis in _DOUBTED else ".")
    )
    text += _stale_words(choice)
    saving, baseline = plan.savings_usd, plan.baseline
    usual = baseline and baseline.cost_usd
    if saving is not None and baseline is not None and usual is not None and saving > 0:
        text += (
            f"\nThat is {money(saving)} USD ({saving / usual.expected:.0%}) less than"
            f" the usual {baseline.instance_type} on demand in {baseline.region}"
            f" ({money(usual.expected)} USD)."
        )
    return text


def _hourly_words(plan: Plan, choice: Quote) -> str:
    """By what it was chosen where nobody knows how long the job takes."""
    by = {
        ObjectiveKind.COST: "an hour of it costs least",
        ObjectiveKind.TIME: "it is the fastest by data sheet",
        ObjectiveKind.CARBON: "an hour of it emits least",
        ObjectiveKind.WEIGHTED: "an hour of it costs least, its carbon included",
    }[plan.constraints.objective.kind]
    against = "a T4" if plan.constraints.uses_gpu else "four vCPUs (Ice Lake)"
    return (
        f"{money(choice.hourly_usd)} USD an hour, disk and address included: of all that meet the"
        f" job's needs, {by}. Speeds are by data sheet, against {against}."
    )


def _stale_words(choice: Quote) -> str:
    text = ""
    if choice.price_stale:
        text += f" Its price is of {choice.price_as_of}, and stale (*): mlbroker prices refresh."
    elif choice.price_width:
        text += f" Its price is of {choice.price_as_of}: mlbroker prices refresh."
    if choice.price_width:
        text += f" It may be {choice.price_width:.0%} higher by now, and still comes first."
    return text


def interval_words(quote: Quote) -> str:
    """How far off a step time may be, at 80 %."""
    assert quote.step_time_s is not None
    factor = quote.step_time_s.p90 / quote.step_time_s.p50
    return f"±{factor - 1:.0%}" if factor < 1.5 else f"within a factor of {factor:.1f}"


def embodied_words(quote: Quote, embodied: Embodied) -> str:
    """What making a quote's machines emitted, apart from what their energy does."""
    hourly, kg = embodied.kgco2e_per_hour(quote), embodied.kgco2e(quote)
    if hourly is None:
        return f"What making a machine of type {quote.instance_type} emitted is unknown."
    if kg is None:
        return f"An hour's share of making it is {mass(hourly)} CO2e, apart from its energy's."
    return f"The run's share of making it is {mass(kg)} CO2e, apart from its energy's."


def prices_words(snapshot: Snapshot) -> str:
    """One line: each cloud's price date, and how much of the book is stale."""
    dates = ", ".join(
        f"{cloud} {day}" + (f" (oldest {oldest})" if (oldest := snapshot.oldest.get(cloud)) != day
                            and oldest else "")
        for cloud, day in sorted(snapshot.as_of.items())
    )  # fmt: skip
    stale = ""
    if snapshot.stale_offers:
        share = snapshot.stale_offers / max(snapshot.offers, 1)
        stale = f"; {share:.0%} of them are stale (marked *): mlbroker prices status"
    return f"Prices: {dates}{stale}"


def measure_words(plan: Plan) -> str | None:
    """Advice to measure, where no measurement tells the times."""
    if plan.job.replicas is not None:
        return unjudged_words(plan)
    if not plan.known:
        parts = [
            "Never measured: how long it takes and what a run costs is not known.",
            unjudged_words(plan),
            f"{MEASURE_OR_SAY[:1].upper()}{MEASURE_OR_SAY[1:]}.",
        ]
        return " ".join(part for part in parts if part)
    if plan.choice is not None and plan.choice.basis is Basis.STATED:
        return (
            "This job was never measured: times rest on what was said of it. Measure it:"
            " mlbroker profile JOB --on local"
        )
    if plan.choice is None or plan.choice.basis is not Basis.DATASHEET:
        return None
    return "Times are scaled from other machines by data sheet; a probe on the choice would tell."
