"""The plan as a person reads it: the choice, the runners-up, and why not the rest."""

from collections.abc import Sequence

from mlbroker.broker.choice_words import (
    choice_words,
    embodied_words,
    interval_words,
    measure_words,
    plan_title,
    prices_words,
)
from mlbroker.broker.output import print_line, print_table
from mlbroker.broker.plan_words import (
    REASON_WORDS,
    falls_back_words,
)
from mlbroker.broker.prices.shortages import Shortage
from mlbroker.broker.prices.terms import Currency
from mlbroker.broker.words import duration, figure, money
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.book import Book, with_hardware
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote, Rejection
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.batch import BatchAt
from mlbroker.profiles.job import ObjectiveKind
from mlbroker.profiles.prediction import Evidence

COLUMNS = ("", "cloud", "region", "type", "market", "$/h", "time", "(90 %)", "cost $", "(90 %)",
           "in time", "kgCO2e", "basis")  # fmt: skip
RIGHT = ("$/h", "time", "(90 %)", "cost $", "in time", "kgCO2e")
# Of a job never measured, by the hour; left out one after the other: speed, rank, cloud, market.
HOURLY = ("", "cloud", "region", "type", "market", "$/h", "all in $/h", "speed", "basis")
HOURLY_SPARE = (8, 6, 0, 1, 4)
# Left out on a narrow terminal, least needed first: basis, carbon, chance, both 90 %, hourly price,
# rank, cloud, market, region. What stays to the end: the type, its time and its cost.
SPARE = (12, 11, 10, 7, 9, 5, 0, 1, 4, 2)
# Where the batch is chosen too, behind the others; the two last go when all of those are gone.
BATCH = ("batch", "worth", "lr x")
# With embodied carbon, which stands before the basis; neither carbon goes before all of those.
EMBODIED = "embodied"
EMBODIED_SPARE = (13, 10, 7, 9, 5, 0, 1, 4, 2, 11, 12)
EXAMPLES = 3


def show(
    plan: Plan,
    *,
    explain: bool,
    currency: Currency | None = None,
    embodied: Embodied | None = None,
) -> None:
    """The table, the choice in words, the rejections, the dates of the prices."""
    if plan.quotes:
        ranked = [(quote, str(place)) for place, quote in enumerate(plan.quotes, 1)]
        _table(plan, ranked, embodied)
        if plan.feasible > len(plan.quotes):
            print_line(f"… and {plan.feasible - len(plan.quotes):,} more that would do (--top 0)")
        print_line("")
        print_line(choice_words(plan))
        if plan.choice and (words := falls_back_words(plan.choice, plan.constraints.deadline_s)):
            print_line(words)
        if currency is not None and plan.choice is not None:
            print_line(_in_currency(plan.choice, currency))
        if embodied is not None and plan.choice is not None:
            print_line(embodied_words(plan.choice, embodied))
    else:
        print_line(plan_title(plan))
    _show_rejections(plan, explain=explain)
    print_line(prices_words(plan.snapshot))
    advice = measure_words(plan)
    if advice:
        print_line(advice)


def _table(
    plan: Plan,
    ranked: Sequence[tuple[Quote, str]],
    embodied: Embodied | None = None,
    *,
    title: str | None = None,
) -> None:
    highlight = 0 if title is None else None
    title = title or plan_title(plan)
    if plan.known:
        rows = [_row(quote, rank) for quote, rank in ranked]
        columns, right = list(COLUMNS), list(RIGHT)
        spare: Sequence[int] = SPARE
        if embodied is not None:
            columns.insert(-1, EMBODIED)
            right.append(EMBODIED)
            spare = EMBODIED_SPARE
            made = [_kg(embodied.kgco2e(quote)) for quote, _ in ranked]
            rows = [(*row[:-1], kg, row[-1]) for row, kg in zip(rows, made, strict=True)]
        if any(quote.batch is not None for quote, _ in ranked):
            spare = (*spare, len(columns) + 2, len(columns) + 1)
            columns += BATCH
            right += BATCH
            worths = [_at_batch(quote.batch) for quote, _ in ranked]
            rows = [(*row, *worth) for row, worth in zip(rows, worths, strict=True)]
        print_table(columns, rows, title=title, right=right, highlight=highlight, spare=spare)
    else:
        rows = [_hourly_row(quote, rank) for quote, rank in ranked]
        speeds = HOURLY[5:8]
        print_table(
            HOURLY, rows, title=title, right=speeds, highlight=highlight, spare=HOURLY_SPARE
        )


def show_next_probe(plan: Plan, book: Book, evidence: Evidence) -> None:
    """The measurement that would bring most, what it costs, and whether it is worth it."""
    # Where nothing is known, a measurement here costs nothing and comes first.
    choice = plan.choice
    if choice is None or choice.cost_usd is None or not (evidence.measurements or evidence.history):
        return
    from mlbroker.profiles.probe_advice import advise

    limits = plan.constraints
    advice = advise(
        with_hardware(book, evidence),
        plan.probe_offers,
        limits.steps,
        limits.deadline_s,
        choice_usd=float(choice.cost_usd.expected),
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


def show_type(plan: Plan, name: str, embodied: Embodied | None = None) -> None:
    """Everything about one machine type: its quotes, or why it has none."""
    mine = [quote for quote in plan.quotes if quote.instance_type == name]
    out = [item for item in plan.rejected if item.instance_type == name]
    if mine:
        ranks = {id(quote): str(place) for place, quote in enumerate(plan.quotes, 1)}
        ranked = [(quote, ranks[id(quote)]) for quote in mine]
        _table(plan, ranked, embodied, title=f"{name} for {plan.job.name}")
        for quote in mine:
            print_line(_quote_words(quote, plan.constraints.steps))
            if words := falls_back_words(quote, plan.constraints.deadline_s):
                print_line(f"  {words}")
            if embodied is not None:
                print_line(f"  {embodied_words(quote, embodied)}")
            if plan.choice is not None and quote is not plan.choice:
                print_line(_compare_words(quote, plan.choice, plan.constraints.objective.kind))
    for item in out:
        print_line(
            f"{_market(item)} {name}: not picked, {item.reason}: {item.detail}{_figures(item)}"
        )
    print_line(prices_words(plan.snapshot))
    advice = measure_words(plan)
    if advice and not plan.known:
        print_line(advice)


def _machine(quote: Quote, rank: str) -> Sequence[str]:
    """What both tables begin with."""
    return rank, quote.cloud, quote.region, quote.instance_type, _market(quote)


def _hourly_row(quote: Quote, rank: str) -> Sequence[str]:
    star, speed = "*" if quote.price_stale else "", quote.relative_speed
    return (
        *_machine(quote, rank),
        f"{quote.price_per_hour_usd.normalize():f}",
        money(quote.hourly_usd) + star,
        "?" if speed is None else f"{speed:.2g}x" if speed < 100 else f"{speed:.0f}x",
        str(quote.basis),
    )


def _row(quote: Quote, rank: str) -> Sequence[str]:
    assert quote.duration_h is not None
    assert quote.cost_usd is not None
    chance, star = quote.deadline_probability, "*" if quote.price_stale else ""
    return (
        *_machine(quote, rank),
        f"{quote.price_per_hour_usd.normalize():f}{star}",
        duration(quote.duration_h.p50 * 3600),
        duration(quote.duration_h.p90 * 3600),
        # Here too: the price an hour is not shown on a narrow terminal.
        money(quote.cost_usd.expected) + star,
        money(quote.cost_usd.p90),
        "" if chance is None else f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}",
        _kg(quote.carbon_kgco2e),
        str(quote.basis),
    )


def _at_batch(at: BatchAt | None) -> Sequence[str]:
    if at is None:
        return ("", "", "")
    rate = "" if at.lr_scale is None else figure(at.lr_scale)
    return f"{at.size:,}", f"{at.efficiency:.0%}", rate


def _kg(kg: float | None) -> str:
    return "?" if kg is None else f"{kg:.2g}"


def _in_currency(quote: Quote, currency: Currency) -> str:
    if quote.cost_usd is None:
        return f"In {currency.code}: {money(quote.hourly_usd * currency.per_usd)} an hour."
    expected, p90 = (
        money(usd * currency.per_usd) for usd in (quote.cost_usd.expected, quote.cost_usd.p90)
    )
    return (
        f"In {currency.code}, at your {currency.per_usd} a dollar: {expected},"
        f" in nine runs of ten at most {p90}."
    )


def _quote_words(quote: Quote, steps: int) -> str:
    cost = quote.cost_usd
    price = f"price of {quote.price_as_of} from {quote.price_source}"
    if cost is None or quote.step_time_s is None:
        return f"{_market(quote)}: {money(quote.hourly_usd)} USD an hour, all included; {price}"
    each, step_s = "step" if steps > 1 else "the work", quote.step_time_s.p50
    took = f"{step_s:.3g} s" if step_s < 90 else duration(step_s)
    return (
        f"{_market(quote)}: {each} {took} ({quote.basis}, {quote.evidence};"
        f" {interval_words(quote)} at 80 %); {money(cost.compute)} USD machine"
        f" + {money(cost.storage)} disk, address and bucket + {money(cost.network)} traffic"
        f" + {money(cost.interruptions)} interruptions"
        f"{'' if quote.falls_back is None else ' and on demand'}; {price}"
    )


def _compare_words(quote: Quote, choice: Quote, objective: ObjectiveKind) -> str:
    here, there = (q.cost_usd for q in (quote, choice))
    times = [q.duration_h.p50 for q in (quote, choice) if q.duration_h is not None]
    if here is None or there is None or len(times) < 2:
        more = quote.hourly_usd - choice.hourly_usd
        place = f"{choice.instance_type} in {choice.region}"
        return f"  not picked: {money(more)} USD an hour more than {place}"
    more = here.expected - there.expected
    worse = f"{money(more)} USD dearer"
    if objective is ObjectiveKind.TIME:
        worse = f"{duration((times[0] - times[1]) * 3600)} slower"
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
