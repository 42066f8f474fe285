"""The figures of a check in words, the same in every format for people."""

from collections.abc import Callable

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.ci.priced import PricedJob
from mlbroker.broker.plan_words import MEASURE_OR_SAY
from mlbroker.broker.words import count, duration, money
from mlbroker.policies.quote import Quote

UNKNOWN = "unknown until measured"
_ONE_SIDED = {
    ChangeStatus.ADDED: "new",
    ChangeStatus.REMOVED: "gone",
    ChangeStatus.BROKEN: "broken",
}


def arrow(before: str, after: str) -> str:
    """`before → after`, or one of them when they are equal or the other is missing."""
    if before == after or not after:
        return before
    return f"{before} → {after}" if before else after


def cost(job: JobChange) -> str:
    """Cost of a run, before → after."""
    return _both(job, _cost)


def cost_told(job: JobChange) -> str:
    """The same, as a phrase."""
    if job.head and job.head.replicas:
        return f"{monthly(job)} USD a month"
    return cost(job) if job.head and job.head.unknown else f"{cost(job)} USD a {_unit(job)}"


def _unit(job: JobChange) -> str:
    side = job.head or job.base
    return "run" if side is None else side.unit


def monthly(job: JobChange) -> str:
    """Cost of a month, before → after; empty when the number of runs is not stated."""
    return _both(job, _monthly)


def change(job: JobChange) -> str:
    """What the change does to the cost of a run."""
    if job.status in _ONE_SIDED:
        return _ONE_SIDED[job.status]
    share = job.increase
    if job.head is not None and job.head.unknown:
        return "?"
    if share is None:
        return "no machine" if job.head is not None and job.head.problem else "?"
    return (
        "same" if share == 0 else f"{share:+.1%}" if abs(share) < 10 else f"{share + 1:,.0f}-fold"
    )


def machine(job: JobChange) -> str:
    """Where it runs, before → after."""
    return _both(job, _machine)


def machine_now(job: JobChange) -> str:
    """Where it runs now; of a removed job, where it ran."""
    return _told(job.head, _machine) or _told(job.base, _machine)


def time(job: JobChange) -> str:
    """How long a run takes, before → after, and the deadline it has now."""
    both = _both(job, _time)
    side = job.head or job.base
    deadline = side.deadline_s if side else None
    return both if deadline is None or not both else f"{both} of {duration(deadline)}"


def chance(job: JobChange) -> str:
    """Probability to be in time, before → after."""
    return _both(job, _chance)


def carbon(job: JobChange) -> str:
    """CO2e of a run, before → after; `?` when unknown."""
    return _both(job, lambda side, quote: _known(quote.carbon_kgco2e))


def energy(job: JobChange) -> str:
    """Energy of a run, before → after."""
    return _both(job, lambda side, quote: _known(quote.energy_kwh))


def basis(job: JobChange) -> str:
    """What the times rest on."""
    side = job.head or job.base
    return "" if side is None or side.quote is None else str(side.quote.basis)


def headline(check: CostCheck) -> str:
    """The change in one sentence."""
    touched = check.touched
    if not check.jobs:
        return "No job files."
    if not touched:
        return f"No change to the cost of {count(len(check.jobs), 'job')}."
    total = check.total
    counts = ", ".join(
        f"{check.count(status)} {status}" for status in ChangeStatus if check.count(status)
    )
    known = [
        job for job in touched if any(s and s.cost_usd is not None for s in (job.base, job.head))
    ]
    if check.unknown and not known:
        return f"{count(len(touched), 'job')}: what a run costs is {UNKNOWN} ({counts})."
    ending = len(touched) - len(check.services)
    if not ending:
        return f"{count(len(touched), 'service')}, without an end: what a month costs ({counts})."
    if check.compared_to is None:
        runs = count(ending, "job")
        open_ = f", of {len(check.unknown)} {UNKNOWN}" if check.unknown else ""
        return f"{runs}: {money(total.head_cost_usd)} USD for one run of each{open_}."
    before, after = total.base_cost_usd, total.head_cost_usd
    verb = "stays at" if before == after else "changes from"
    figures = f"{money(after)} USD" if before == after else f"{money(before)} to {money(after)} USD"
    return f"One run of each touched job {verb} {figures} ({counts})."


def month_line(check: CostCheck) -> str | None:
    """The month's sum, where jobs state how often they run."""
    total = check.total
    if not total.base_monthly_usd and not total.head_monthly_usd:
        return None
    after = f"{money(total.head_monthly_usd)} USD"
    if check.services:
        after += ", with the most replicas of each service"
    if check.compared_to is None:
        return f"A month: {after}."
    return f"A month: {arrow(f'{money(total.base_monthly_usd)} USD', after)}."


def unknown_line(check: CostCheck) -> str | None:
    """Which jobs were never measured, and what to do about it."""
    names = [job.pair.name for job in check.unknown]
    if not names:
        return None
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"Never measured, and in no sum: {shown}. To know the cost, {MEASURE_OR_SAY}."


def prices_line(check: CostCheck) -> str:
    """Which prices were used."""
    snapshot = check.snapshot
    dates = ", ".join(f"{cloud} {day}" for cloud, day in sorted(snapshot.as_of.items()))
    return f"Prices: {dates}; snapshot {snapshot.id[:12]}."


def _both(job: JobChange, text: Callable[[PricedJob, Quote], str]) -> str:
    return arrow(_told(job.base, text), _told(job.head, text))


def _told(side: PricedJob | None, text: Callable[[PricedJob, Quote], str]) -> str:
    """Nothing where there is no choice."""
    return "" if side is None or side.quote is None else text(side, side.quote)


def _machine(side: PricedJob, quote: Quote) -> str:
    nodes = f"{quote.nodes} x " if quote.nodes > 1 else ""
    spot = " spot" if quote.market == "spot" else ""
    rate = f", {money(quote.hourly_usd)} USD/h" if quote.cost_usd is None else ""
    return f"{nodes}{quote.instance_type}{spot} ({quote.cloud} {quote.region}{rate})"


def _cost(side: PricedJob, quote: Quote) -> str:
    if side.replicas is not None:
        kind, least, most = side.replicas
        return f"{kind} of {least}" if least == most else f"{kind} of {least} to {most}"
    told = UNKNOWN if side.cost_usd is None else money(side.cost_usd)
    if side.study is None:
        return told
    cap_usd = side.study.cap_usd
    cap = "no cap" if cap_usd is None else f"at most {money(cap_usd)}"
    return f"{told}, {cap}"


def _monthly(side: PricedJob, quote: Quote) -> str:
    """Of what never ends, with the fewest and the most replicas."""
    if side.replicas is not None:
        least, most = map(money, side.replicas.monthly_usd(quote.hourly_usd))
        return most if least == most else f"{least} to {most}"
    return "" if side.monthly_usd is None else money(side.monthly_usd)


def _time(side: PricedJob, quote: Quote) -> str:
    if side.replicas is not None:
        return ""
    if quote.duration_h is None:
        return "?"
    span = duration(quote.duration_h.p50 * 3600)
    return span if side.study is None else f"{span} a trial"


def _chance(side: PricedJob, quote: Quote) -> str:
    chance = quote.deadline_probability
    if chance is None:
        return ""
    return f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}"


def _known(amount: float | None) -> str:
    return "?" if amount is None else f"{amount:.2g}"
