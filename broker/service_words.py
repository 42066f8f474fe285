"""Which machines serve a service for the least, in words; and why none does."""

from collections.abc import Iterator
from decimal import Decimal

from mlbroker.broker.errors import NothingFeasible
from mlbroker.broker.words import money
from mlbroker.policies.service.demand import Chosen
from mlbroker.policies.service.fleet import Fleet, Option
from mlbroker.pricing.billing import HOURS_PER_MONTH
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import Job, Replicas

WAVE = "a day's wave, as no trace is recorded"


def asked_words(chosen: Chosen) -> str:
    """The traffic and what is asked."""
    wave = f" ({WAVE})" if chosen.assumed else ""
    of = "Of the machines of known capacity" if chosen.guess is None else "Of the cheapest machine"
    return (
        f"{of}, for {chosen.mean_rps:.4g} requests a second and {chosen.peak_rps:.4g} at the"
        f" peak{wave}, {chosen.limits.share:.4g} of them served:"
    )


def fleet_words(fleet: Fleet) -> str:
    """`2 c5.large, g5.xlarge 1 to 9`: what always runs, and what follows the load."""
    parts = [f"{number} {option_words(option)}" for option, number in fleet.base]
    if fleet.peak is not None:
        span = f"{fleet.least} to {fleet.most}" if fleet.most > fleet.least else f"{fleet.most}"
        parts.append(f"{span} {option_words(fleet.peak)}")
    return " + ".join(parts)


def option_words(option: Option) -> str:
    """The type, and its market where that is spot."""
    return f"{option.name} on spot" if option.market is Market.SPOT else option.name


def chosen_words(chosen: Chosen, job: Job, *, explain: bool) -> Iterator[str]:
    """What a person should know beside the table, a line each."""
    best, single = chosen.choice.best, chosen.choice.single
    if chosen.guess is not None:
        yield f"What a replica serves there is a guess, {chosen.guess}."
    if best is None:
        yield from _why_not_words(chosen)
        return
    if (best.base and best.peak is not None) or len(best.base) > 1:
        yield _saved_words(chosen, best, single)
        yield _run_words(best)
    elif single is not None and len(chosen.choice.singles) > 1:
        yield f"Choose {fleet_words(single)}: no mix is cheaper."
    first = _types(best)[0]
    mean, peak = best.at(chosen.mean_rps), best.at(chosen.peak_rps)
    yield (
        f"In {first.cloud} {first.region} it runs {mean} at the mean rate and {peak} at the peak."
        " Replicas that follow boot for 5 minutes: whoever they would serve meanwhile is turned"
        " away."
    )
    if chosen.month is not None:
        month = chosen.month
        usd, low, high = (
            money(Decimal(each)) for each in (month.usd, month.low_usd, month.high_usd)
        )
        yield f"A month like these {month.days} days: {usd} USD, {low} to {high} with 90 %."
    if (budget := _budget_words(best, job)) is not None:
        yield budget
    if explain:
        yield from _why_not_words(chosen)
    for names, what in (
        (chosen.hopeless, "never meets the objective, as the job file says"),
        (chosen.unsold, "is not sold where the job may be"),
    ):
        if names:
            yield f"{', '.join(names)}: {what}."
    yield (
        "How fast other machines are is not known: `broker: service: capacity:` says it once you"
        " have measured it there."
    )


def _types(fleet: Fleet) -> list[Option]:
    return [*(option for option, _ in fleet.base), *([fleet.peak] if fleet.peak else [])]


def _saved_words(chosen: Chosen, best: Fleet, single: Fleet | None) -> str:
    if single is None:
        return "Choose the mix: no type by itself serves enough."
    saved = (single.usd_per_h - best.usd_per_h) * HOURS_PER_MONTH
    share = 1 - best.usd_per_h / single.usd_per_h
    return (
        f"Choose the mix: it saves {money(saved)} USD a month ({share:.1%}) against"
        f" {fleet_words(single)}. Of what it pays for {chosen.used(best):.0%} serves requests,"
        f" there {chosen.used(single):.0%}."
    )


def _run_words(best: Fleet) -> str:
    """How a mix is run: an engine scales one type."""
    weights = ", ".join(f"{option_words(each)} {each.rps:.4g}" for each in _types(best))
    return (
        "An engine scales one type: a mix is a group for each, on one load balancer that gives"
        f" requests by capacity ({weights}); the group that follows is scaled by the requests above"
        f" {best.group.base_rps:.4g} a second."
    )


def _budget_words(best: Fleet, job: Job) -> str | None:
    service = job.service
    if service is None or service.month_usd is None:
        return None
    fits = best.for_budget(service.month_usd / HOURS_PER_MONTH)
    said = f"The budget of {money(service.month_usd)} USD a month"
    if fits is None or fits < best.replicas[0]:
        least = best.base_usd_per_h
        least += best.least * best.peak.usd_per_h if best.peak is not None else 0
        would_do = money(least * HOURS_PER_MONTH, least=True)
        return f"{said} does not pay for what always runs: {would_do} would do."
    if fits >= best.replicas[1]:
        return f"{said} pays for all {best.replicas[1]} all the time."
    spent = best.usd_per_h * HOURS_PER_MONTH
    within = "more than" if spent <= service.month_usd else "less than"
    return (
        f"{said} pays for {fits} all the time, which is a ceiling that nothing breaks; it is"
        f" {within} this traffic costs."
    )


def _why_not_words(chosen: Chosen) -> Iterator[str]:
    """Each type by itself, and why not."""
    best = chosen.choice.best
    for option, fleet, would_do in chosen.choice.singles:
        name = option_words(option)
        if fleet is None:
            yield (
                f"{name} alone: {chosen.limits.most} replicas at most serve too little,"
                f" {would_do} would do."
            )
        elif best is not None and fleet != best:
            more = fleet.usd_per_h / best.usd_per_h - 1
            idle = float(option.usd_per_h) / 3.6 / option.rps
            yield (
                f"{name} alone: {more:.1%} more. 1,000 requests cost {idle:.3g} USD on one that is"
                f" never idle, and {chosen.used(fleet):.0%} of {fleet_words(fleet)} serves any."
            )


def unmet(chosen: Chosen | None, where: str) -> NothingFeasible | None:
    """Exit 4, where no machine of known capacity serves enough."""
    if chosen is None or chosen.guess is not None or chosen.choice.best is not None:
        return None
    short = [single for single in chosen.choice.singles if single.fleet is None]
    if short:
        option, _, would_do = min(short, key=lambda each: each.would_do)
        return NothingFeasible(
            f"{chosen.limits.most} replicas serve too little of {chosen.peak_rps:.4g} requests a"
            " second on any machine of known capacity",
            where=where,
            hint=f"{would_do} of {option_words(option)} would do: max_replicas",
        )
    never, unsold = ", ".join(chosen.hopeless), ", ".join(chosen.unsold)
    reasons = [f"{never}: capacity 0"] * bool(never) + [f"{unsold}: not sold there"] * bool(unsold)
    return NothingFeasible(
        "no machine of known capacity meets the objective",
        where=where,
        hint=f"{'; '.join(reasons)}: say what others serve under `broker: service: capacity:`",
    )


def too_little_budget(
    job: Job, replicas: Replicas, hourly_usd: Decimal, where: str
) -> NothingFeasible | None:
    """Exit 4, where the fewest replicas of the cheapest machine cost more than the budget."""
    budget = None if job.service is None else job.service.month_usd
    least, _ = replicas.monthly_usd(hourly_usd)
    if budget is None or budget >= least:
        return None
    return NothingFeasible(
        f"the budget of {money(budget)} USD a month is less than the fewest replicas"
        f" ({replicas.least}) cost",
        where=where,
        hint=f"{money(least, least=True)} USD would do, or fewer min_replicas",
    )
