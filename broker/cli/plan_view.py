"""The plan as a person reads it: the choice, the runners-up, and why not the rest."""

from collections.abc import Sequence

from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.plan_words import REASON_WORDS
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.broker.prices.terms import Currency
from mlbroker.broker.words import duration, money
from mlbroker.policies.planner.book import Book, with_hardware
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote, Rejection
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import ObjectiveKind
from mlbroker.profiles.prediction import Basis, Evidence

COLUMNS = ("", "cloud", "region", "type", "market", "$/h", "time", "(90 %)", "cost $", "(90 %)",
           "in time", "kgCO2e", "basis")  # fmt: skip
RIGHT = ("$/h", "time", "(90 %)", "cost $", "in time", "kgCO2e")
# Left out on a narrow terminal, least needed first: basis, carbon, chance, both 90 %, hourly price,
# rank, cloud, market, region. What stays to the end: the type, its time and its cost.
SPARE = (12, 11, 10, 7, 9, 5, 0, 1, 4, 2)
EXAMPLES = 3
# How sure a time is, is said of what no measurement of the machine or its like stands behind.
_DOUBTED = (Basis.PREDICTED, Basis.STATED)


def show(plan: Plan, *, explain: bool, currency: Currency | None = None) -> None:
    """The table, the choice in words, the rejections, the dates of the prices."""
    if plan.quotes:
        rows = [_row(quote, str(place)) for place, quote in enumerate(plan.quotes, 1)]
        print_table(COLUMNS, rows, title=_title(plan), right=RIGHT, highlight=0, spare=SPARE)
        if plan.feasible > len(plan.quotes):
            print_line(f"… and {plan.feasible - len(plan.quotes):,} more that would do (--top 0)")
        print_line("")
        print_line(_choice_words(plan))
        if currency is not None and plan.choice is not None:
            print_line(_in_currency(plan.choice, currency))
    else:
        print_line(_title(plan))
    _show_rejections(plan, explain=explain)
    print_line(prices_words(plan))
    advice = measure_words(plan)
    if advice:
        print_line(advice)


def show_next_probe(plan: Plan, book: Book, evidence: Evidence) -> None:
    """The measurement that would bring most, what it costs, and whether it is worth it."""
    # Where nothing is known, a measurement here costs nothing and comes first.
    if plan.choice is None or not (evidence.measurements or evidence.history):
        return
    from mlbroker.profiles.probe_advice import advise

    limits = plan.constraints
    advice = advise(
        with_hardware(book, evidence),
        plan.probe_offers,
        limits.steps,
        limits.deadline_s,
        choice_usd=float(plan.choice.cost_usd.expected),
    )
    if advice.place is None or advice.costs_usd <= 0:
        return
    costs, saves = f"{advice.costs_usd:.2g} USD", f"{advice.saves_usd:.2g} USD on average"
    if not advice.probe:
        print_line(f"No further measurement is worth it: it would cost {costs} and save {saves}.")
        return
    target = plan.probe_offers[advice.place].target
    name = target.instance_type
    where = f"--on {name}" if vendor(target.cloud).own else f"--instance-type {name}"
    # Before the first measurement nobody knows how long the job is, nor what there is to save.
    brings = f", which saves {saves}" if plan.measurements else ""
    print_line(
        f"Most worth measuring: {name}, for about {costs}{brings}: "
        f"mlbroker profile JOB {where} (or --auto)"
    )


def show_short_zones(plan: Plan, shortages: Sequence[Shortage]) -> None:
    """The zones of the choice's region that lately had no such machine."""
    choice = plan.choice
    if choice is None:
        return
    spot = choice.market is Market.SPOT
    wanted = (choice.cloud, choice.region, choice.instance_type, spot)
    for short in shortages:
        if (short.cloud, short.region, short.instance_type, short.spot) == wanted:
            print_line(
                f"{short.zone} had no {choice.instance_type} at {short.at:%H:%M} UTC:"
                " a run asks there last."
            )


def show_type(plan: Plan, name: str) -> None:
    """Everything about one machine type: its quotes, or why it has none."""
    mine = [quote for quote in plan.quotes if quote.instance_type == name]
    out = [item for item in plan.rejected if item.instance_type == name]
    if mine:
        ranks = {id(quote): str(place) for place, quote in enumerate(plan.quotes, 1)}
        rows = [_row(quote, ranks[id(quote)]) for quote in mine]
        print_table(COLUMNS, rows, title=f"{name} for {plan.job.name}", right=RIGHT, spare=SPARE)
        for quote in mine:
            print_line(_quote_words(quote, plan.constraints.steps))
            if plan.choice is not None and quote is not plan.choice:
                print_line(_compare_words(quote, plan.choice, plan.constraints.objective.kind))
    for item in out:
        print_line(
            f"{_market(item)} {name}: not picked, {item.reason}: {item.detail}{_figures(item)}"
        )
    print_line(prices_words(plan))


def prices_words(plan: Plan) -> str:
    """One line: each cloud's price date, and how much of the book is stale."""
    snapshot = plan.snapshot
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
    """Advice to measure, where the times are guesses."""
    if plan.choice is not None and plan.choice.basis is Basis.STATED:
        return (
            "This job was never measured: times rest on what was said of it. Measure it:"
            " mlbroker profile JOB --on local"
        )
    if plan.choice is None or plan.choice.basis is not Basis.DATASHEET:
        return None
    if plan.measurements:
        return (
            "Times are scaled from other machines by data sheet; a probe on the choice would tell."
        )
    return (
        "This job was never measured: times are guesses from data sheets, right within a factor of"
        " four. Measure it: mlbroker profile JOB --on local"
    )


def _title(plan: Plan) -> str:
    limits = plan.constraints
    parts = [f"{limits.steps:,} steps"] if limits.steps > 1 else []
    if limits.nodes > 1:
        parts.append(f"{limits.nodes} nodes")
    if limits.deadline_s is not None:
        parts.append(f"deadline {duration(limits.deadline_s)} at {limits.confidence * 100:.4g}%")
    if limits.budget_usd is not None:
        parts.append(f"budget {limits.budget_usd:,} USD")
    return f"{plan.job.name}: {', '.join(parts)}" if parts else plan.job.name


def _row(quote: Quote, rank: str) -> Sequence[str]:
    chance, star = quote.deadline_probability, "*" if quote.price_stale else ""
    return (
        rank,
        quote.cloud,
        quote.region,
        quote.instance_type,
        _market(quote),
        f"{quote.price_per_hour_usd.normalize():f}{star}",
        duration(quote.duration_h.p50 * 3600),
        duration(quote.duration_h.p90 * 3600),
        # Here too: the price an hour is not shown on a narrow terminal.
        money(quote.cost_usd.expected) + star,
        money(quote.cost_usd.p90),
        "" if chance is None else f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}",
        "?" if quote.carbon_kgco2e is None else f"{quote.carbon_kgco2e:.2g}",
        str(quote.basis),
    )


def _choice_words(plan: Plan) -> str:
    choice = plan.choice
    assert choice is not None
    arm = ", an ARM machine" if choice.arch == "arm64" else ""
    text = (
        f"Choose {choice.cloud} {choice.instance_type} in {choice.region}"
        f" ({choice.market.replace('_', '-')}{arm}): {money(choice.cost_usd.expected)} USD,"
        f" {duration(choice.duration_h.p50 * 3600)}. {choice.evidence[:1].upper()}"
        f"{choice.evidence[1:]}"
        + (f"; {_interval_words(choice)}." if choice.basis in _DOUBTED else ".")
    )
    if choice.price_stale:
        text += f" Its price is of {choice.price_as_of}, and stale (*): mlbroker prices refresh."
    elif choice.price_width:
        text += f" Its price is of {choice.price_as_of}: mlbroker prices refresh."
    if choice.price_width:
        text += f" It may be {choice.price_width:.0%} higher by now, and still comes first."
    saving, baseline = plan.savings_usd, plan.baseline
    if saving is not None and baseline is not None and saving > 0:
        text += (
            f"\nThat is {money(saving)} USD ({saving / baseline.cost_usd.expected:.0%}) less than"
            f" the usual {baseline.instance_type} on demand in {baseline.region}"
            f" ({money(baseline.cost_usd.expected)} USD)."
        )
    return text


def _in_currency(quote: Quote, currency: Currency) -> str:
    expected, p90 = (
        money(usd * currency.per_usd) for usd in (quote.cost_usd.expected, quote.cost_usd.p90)
    )
    return (
        f"In {currency.code}, at your {currency.per_usd} a dollar: {expected},"
        f" in nine runs of ten at most {p90}."
    )


def _quote_words(quote: Quote, steps: int) -> str:
    cost = quote.cost_usd
    each, step_s = "step" if steps > 1 else "the work", quote.step_time_s.p50
    took = f"{step_s:.3g} s" if step_s < 90 else duration(step_s)
    return (
        f"{_market(quote)}: {each} {took} ({quote.basis}, {quote.evidence};"
        f" {_interval_words(quote)} at 80 %); {money(cost.compute)} USD machine"
        f" + {money(cost.storage)} disk, address and bucket + {money(cost.network)} traffic"
        f" + {money(cost.interruptions)} interruptions;"
        f" price of {quote.price_as_of} from {quote.price_source}"
    )


def _interval_words(quote: Quote) -> str:
    factor = quote.step_time_s.p90 / quote.step_time_s.p50
    return f"±{factor - 1:.0%}" if factor < 1.5 else f"within a factor of {factor:.1f}"


def _compare_words(quote: Quote, choice: Quote, objective: ObjectiveKind) -> str:
    more = quote.cost_usd.expected - choice.cost_usd.expected
    worse = f"{money(more)} USD dearer"
    if objective is ObjectiveKind.TIME:
        worse = f"{duration((quote.duration_h.p50 - choice.duration_h.p50) * 3600)} slower"
    elif objective is not ObjectiveKind.COST:
        carbon, least = quote.carbon_kgco2e, choice.carbon_kgco2e
        if carbon is None or least is None:
            worse = "its emissions are unknown, it is no better"
        elif objective is ObjectiveKind.CARBON:
            worse = f"{carbon - least:.2g} kgCO2e more"
        else:
            worse = f"{money(more)} USD and {carbon - least:.2g} kgCO2e more"
    return f"  not picked: {worse} than {choice.instance_type} in {choice.region}"


def _market(item: Quote | Rejection) -> str:
    return item.market.replace("_", "-")


def _show_rejections(plan: Plan, *, explain: bool) -> None:
    total = sum(plan.rejections.values())
    if not total:
        return
    print_line(f"Not picked: {total:,} offers (machine type and market)")
    for reason, number in sorted(plan.rejections.items(), key=lambda item: -item[1]):
        print_line(f"  {number:>6,} {REASON_WORDS[reason]} ({reason})")
        if explain:
            group = [item for item in plan.rejected if item.reason is reason]
            # The nearest misses say most: cheapest first, those without a price by name.
            group.sort(key=lambda item: (item.cost_usd is None, item.cost_usd, item.instance_type))
            for item in group[:EXAMPLES]:
                print_line(
                    f"         {_market(item)} {item.instance_type}: {item.detail}{_figures(item)}"
                )
    if explain:
        print_line("  Every one of them: --explain --json; one type: --explain TYPE")


def _figures(item: Rejection) -> str:
    if item.cost_usd is None or item.duration_h is None:
        return ""
    return f" ({duration(item.duration_h * 3600)}, {money(item.cost_usd)} USD)"
