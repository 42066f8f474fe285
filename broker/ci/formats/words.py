"""The figures of a check in words, the same in every format for people."""

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import CostCheck
from mlbroker.broker.ci.pairs import ChangeStatus
from mlbroker.broker.ci.priced import PricedJob
from mlbroker.broker.words import duration, money

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
    return arrow(_cost(job.base), _cost(job.head))


def monthly(job: JobChange) -> str:
    """Cost of a month, before → after; empty when the number of runs is not stated."""
    return arrow(_monthly(job.base), _monthly(job.head))


def change(job: JobChange) -> str:
    """What the change does to the cost of a run."""
    if job.status in _ONE_SIDED:
        return _ONE_SIDED[job.status]
    share = job.increase
    if share is None:
        return "no machine" if job.head is not None and job.head.problem else "?"
    return (
        "same" if share == 0 else f"{share:+.1%}" if abs(share) < 10 else f"{share + 1:,.0f}-fold"
    )


def machine(job: JobChange) -> str:
    """Where it runs, before → after."""
    return arrow(_machine(job.base), _machine(job.head))


def machine_now(job: JobChange) -> str:
    """Where it runs now; of a removed job, where it ran."""
    return _machine(job.head) or _machine(job.base)


def time(job: JobChange) -> str:
    """How long a run takes, before → after, and the deadline it has now."""
    both = arrow(_duration(job.base), _duration(job.head))
    side = job.head or job.base
    deadline = side.deadline_s if side else None
    return both if deadline is None or not both else f"{both} of {duration(deadline)}"


def chance(job: JobChange) -> str:
    """Probability to be in time, before → after."""
    return arrow(_chance(job.base), _chance(job.head))


def carbon(job: JobChange) -> str:
    """CO2e of a run, before → after; `?` when unknown."""
    return arrow(_kg(job.base), _kg(job.head))


def energy(job: JobChange) -> str:
    """Energy of a run, before → after."""
    return arrow(_kwh(job.base), _kwh(job.head))


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
        return f"No change to the cost of {counted(len(check.jobs), 'job')}."
    total = check.total
    counts = ", ".join(
        f"{check.count(status)} {status}" for status in ChangeStatus if check.count(status)
    )
    if check.compared_to is None:
        return (
            f"{counted(len(touched), 'job')}: {money(total.head_cost_usd)} USD for one run of each."
        )
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
    if check.compared_to is None:
        return f"A month: {after}."
    return f"A month: {arrow(f'{money(total.base_monthly_usd)} USD', after)}."


def guessed_line(check: CostCheck) -> str | None:
    """Which jobs were never measured."""
    guessed = [job.pair.name for job in check.guessed]
    if not guessed:
        return None
    shown = ", ".join(guessed[:5]) + (f" and {len(guessed) - 5} more" if len(guessed) > 5 else "")
    return (
        f"Never measured, so guessed from data sheets within a factor of four: {shown}."
        " To measure: mlbroker profile JOB."
    )


def prices_line(check: CostCheck) -> str:
    """Which prices were used."""
    snapshot = check.snapshot
    dates = ", ".join(f"{cloud} {day}" for cloud, day in sorted(snapshot.as_of.items()))
    return f"Prices: {dates}; snapshot {snapshot.id[:12]}."


def _cost(side: PricedJob | None) -> str:
    return "" if side is None or side.cost_usd is None else money(side.cost_usd)


def _monthly(side: PricedJob | None) -> str:
    return "" if side is None or side.monthly_usd is None else money(side.monthly_usd)


def _machine(side: PricedJob | None) -> str:
    if side is None or side.quote is None:
        return ""
    quote = side.quote
    nodes = f"{quote.nodes} x " if quote.nodes > 1 else ""
    spot = " spot" if quote.market == "spot" else ""
    return f"{nodes}{quote.instance_type}{spot} ({quote.cloud} {quote.region})"


def _duration(side: PricedJob | None) -> str:
    return "" if side is None or side.quote is None else duration(side.quote.duration_h.p50 * 3600)


def _chance(side: PricedJob | None) -> str:
    if side is None or side.quote is None or side.quote.deadline_probability is None:
        return ""
    chance = side.quote.deadline_probability
    return f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}"


def _kg(side: PricedJob | None) -> str:
    if side is None or side.quote is None:
        return ""
    return "?" if side.quote.carbon_kgco2e is None else f"{side.quote.carbon_kgco2e:.2g}"


def _kwh(side: PricedJob | None) -> str:
    if side is None or side.quote is None:
        return ""
    return "?" if side.quote.energy_kwh is None else f"{side.quote.energy_kwh:.2g}"


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
