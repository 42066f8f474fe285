"""The figures of a check in words, the same in every format for people."""

from mlbroker.broker.ci.changes import Line
from mlbroker.broker.ci.check import Check
from mlbroker.broker.ci.pairs import Status
from mlbroker.broker.ci.priced import Side
from mlbroker.broker.words import duration, money


def arrow(before: str, after: str) -> str:
    """`before → after`, or one of them when they are equal or the other is missing."""
    if before == after or not after:
        return before
    return f"{before} → {after}" if before else after


def cost(line: Line) -> str:
    """Cost of a run, before → after."""
    return arrow(_cost(line.base), _cost(line.head))


def monthly(line: Line) -> str:
    """Cost of a month, before → after; empty when the number of runs is not stated."""
    return arrow(_monthly(line.base), _monthly(line.head))


def change(line: Line) -> str:
    """What the change does to the cost of a run."""
    if line.status in (Status.ADDED, Status.REMOVED, Status.BROKEN):
        return {Status.ADDED: "new", Status.REMOVED: "gone", Status.BROKEN: "broken"}[line.status]
    share = line.increase
    if share is None:
        return "no machine" if line.head is not None and line.head.problem else "?"
    return (
        "same" if share == 0 else f"{share:+.1%}" if abs(share) < 10 else f"{share + 1:,.0f}-fold"
    )


def machine(line: Line) -> str:
    """Where it runs, before → after."""
    return arrow(_machine(line.base), _machine(line.head))


def machine_now(line: Line) -> str:
    """Where it runs now; of a removed job, where it ran."""
    return _machine(line.head) or _machine(line.base)


def time(line: Line) -> str:
    """How long a run takes, before → after, and the deadline it has now."""
    both = arrow(_duration(line.base), _duration(line.head))
    side = line.head or line.base
    deadline = side.deadline_s if side else None
    return both if deadline is None or not both else f"{both} of {duration(deadline)}"


def chance(line: Line) -> str:
    """Probability to be in time, before → after."""
    return arrow(_chance(line.base), _chance(line.head))


def carbon(line: Line) -> str:
    """CO2e of a run, before → after; `?` when unknown."""
    return arrow(_kg(line.base), _kg(line.head))


def energy(line: Line) -> str:
    """Energy of a run, before → after."""
    return arrow(_kwh(line.base), _kwh(line.head))


def basis(line: Line) -> str:
    """What the times rest on."""
    side = line.head or line.base
    return "" if side is None or side.quote is None else str(side.quote.basis)


def headline(check: Check) -> str:
    """The change in one sentence."""
    touched = check.touched
    if not check.lines:
        return "No job files."
    if not touched:
        return f"No change to the cost of {counted(len(check.lines), 'job')}."
    total = check.total
    counts = ", ".join(
        f"{check.count(status)} {status}" for status in Status if check.count(status)
    )
    if check.compared_to is None:
        return (
            f"{counted(len(touched), 'job')}: {money(total.head_cost_usd)} USD for one run of each."
        )
    before, after = total.base_cost_usd, total.head_cost_usd
    verb = "stays at" if before == after else "changes from"
    figures = f"{money(after)} USD" if before == after else f"{money(before)} to {money(after)} USD"
    return f"One run of each touched job {verb} {figures} ({counts})."


def month_line(check: Check) -> str | None:
    """The month's sum, where jobs state how often they run."""
    total = check.total
    if not total.base_monthly_usd and not total.head_monthly_usd:
        return None
    after = f"{money(total.head_monthly_usd)} USD"
    if check.compared_to is None:
        return f"A month: {after}."
    return f"A month: {arrow(f'{money(total.base_monthly_usd)} USD', after)}."


def guessed_line(check: Check) -> str | None:
    """Which jobs were never measured."""
    guessed = [line.pair.name for line in check.guessed]
    if not guessed:
        return None
    shown = ", ".join(guessed[:5]) + (f" and {len(guessed) - 5} more" if len(guessed) > 5 else "")
    return (
        f"Never measured, so guessed from data sheets within a factor of four: {shown}."
        " To measure: mlbroker profile JOB."
    )


def prices_line(check: Check) -> str:
    """Which prices were used."""
    snapshot = check.snapshot
    dates = ", ".join(f"{cloud} {day}" for cloud, day in sorted(snapshot.as_of.items()))
    return f"Prices: {dates}; snapshot {snapshot.id[:12]}."


def _cost(side: Side | None) -> str:
    return "" if side is None or side.cost_usd is None else money(side.cost_usd)


def _monthly(side: Side | None) -> str:
    return "" if side is None or side.monthly_usd is None else money(side.monthly_usd)


def _machine(side: Side | None) -> str:
    if side is None or side.quote is None:
        return ""
    quote = side.quote
    nodes = f"{quote.nodes} x " if quote.nodes > 1 else ""
    spot = " spot" if quote.market == "spot" else ""
    return f"{nodes}{quote.instance_type}{spot} ({quote.cloud} {quote.region})"


def _duration(side: Side | None) -> str:
    return "" if side is None or side.quote is None else duration(side.quote.duration_h.p50 * 3600)


def _chance(side: Side | None) -> str:
    if side is None or side.quote is None or side.quote.deadline_probability is None:
        return ""
    chance = side.quote.deadline_probability
    return f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}"


def _kg(side: Side | None) -> str:
    if side is None or side.quote is None:
        return ""
    return "?" if side.quote.carbon_kgco2e is None else f"{side.quote.carbon_kgco2e:.2g}"


def _kwh(side: Side | None) -> str:
    if side is None or side.quote is None:
        return ""
    return "?" if side.quote.energy_kwh is None else f"{side.quote.energy_kwh:.2g}"


def counted(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
