"""Every machine of a plan as a row of its page: what would do, best first, then what would not."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.report.rows import Column, Figures, Rows, Words
from mlbroker.broker.words import duration, mass, money
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote, Reason, Rejection
from mlbroker.pricing.offer import Hardware

# The verdict on a machine that is not rejected.
FITS = "would do"
ON_FRONT = "yes"
# In a rejected machine's row: it was out before this was worked out.
_NOT_WORKED_OUT = "-"


class _Machine(NamedTuple):
    """A row. `x` and `y` are what the first chart draws: see `plan_charts`."""

    item: Quote | Rejection
    rank: int | None
    hours: float | None
    usd: Decimal | None
    speed: float | None
    verdict: str
    why: str


def machine_rows(plan: Plan, book: Book, embodied: Embodied | None = None) -> Rows:
    """A row for each quote and each rejection; the choice is marked.

    With `embodied` a column more: what making the machines emitted.
    """
    machines = [*_quoted(plan.quotes), *_rejected(plan.rejected)]
    quotes = [m.item if isinstance(m.item, Quote) else None for m in machines]
    front = _front(machines, known=plan.known)
    hardware = {(kind.cloud, kind.name): kind.hardware for _, _, kind in book.types()}
    kinds = [hardware.get((m.item.cloud, m.item.instance_type)) for m in machines]
    unknown, numbers = _NOT_WORKED_OUT, range(len(machines))
    # Of a quote everything was worked out: what is missing is published by nobody.
    either = [_NOT_WORKED_OUT if quote is None else "unknown" for quote in quotes]
    machines_of: list[Column] = [
        Figures("rank", "Rank", [m.rank for m in machines], str, ""),
        Words("type", "Type", [m.item.instance_type for m in machines]),
        Words("cloud", "Cloud", [m.item.cloud for m in machines]),
        Words("region", "Region", [m.item.region for m in machines], "any"),
        Words("market", "Market", [m.item.market.replace("_", "-") for m in machines]),
    ]
    if plan.known:
        figures: list[Column] = [
            Figures("usd", "Cost $", [m.usd for m in machines], money, unknown),
            Figures("usd_p90", "90 %", [_p90_usd(q) for q in quotes], money, unknown),
            Figures("hours", "Time", [m.hours for m in machines], _hours, unknown),
            Figures("hours_p90", "90 %", [_p90_hours(q) for q in quotes], _hours, unknown),
            Figures("chance", "In time", [_chance(q) for q in quotes], _percent, unknown),
            Figures("carbon", "CO2e", [q and q.carbon_kgco2e for q in quotes], mass, either),
        ]
        if embodied is not None:
            made = [q and embodied.kgco2e(q) for q in quotes]
            figures.append(Figures("embodied", "Embodied CO2e", made, mass, either))
    else:
        figures = [
            Figures("usd", "$ an hour, all in", [m.usd for m in machines], money, unknown),
            Figures("speed", "Speed", [m.speed for m in machines], _times, either),
        ]
    prices = [q and q.price_per_hour_usd for q in quotes]
    figures += [
        Figures("price", "$ an hour", prices, _price, unknown),
        Words("gpu", "GPU", [_gpu(kind) for kind in kinds]),
        Figures("vcpus", "vCPUs", [kind and kind.vcpus for kind in kinds], _plain),
        Figures("memory", "GiB", [kind and kind.memory_gib for kind in kinds], _plain),
    ]
    verdicts: list[Column] = [
        Words("basis", "Basis", [q and str(q.basis) for q in quotes], unknown),
        Words("verdict", "Verdict", [m.verdict for m in machines]),
        Words("why", "Because", [m.why for m in machines], ""),
        Words("front", "Beaten by none", [ON_FRONT if n in front else "" for n in numbers]),
    ]
    return Rows([*machines_of, *figures, *verdicts], marked=0 if plan.quotes else None)


def verdict_words(reason: Reason) -> str:
    """A reason's code, as a table shows and filters it."""
    return reason.replace("_", " ")


def _quoted(quotes: Sequence[Quote]) -> Iterable[_Machine]:
    for rank, quote in enumerate(quotes, 1):
        hours = quote.duration_h and quote.duration_h.p50
        usd = quote.hourly_usd if quote.cost_usd is None else quote.cost_usd.expected
        yield _Machine(quote, rank, hours, usd, quote.relative_speed, FITS, quote.evidence)


def _rejected(rejected: Sequence[Rejection]) -> Iterable[_Machine]:
    """The nearest misses say most: cheapest first, then by name what has no cost."""

    def nearness(item: Rejection) -> tuple[bool, Decimal, str]:
        return item.cost_usd is None, item.cost_usd or Decimal(0), item.instance_type

    for item in sorted(rejected, key=nearness):
        verdict = verdict_words(item.reason)
        yield _Machine(item, None, item.duration_h, item.cost_usd, None, verdict, item.detail)


def _front(machines: Sequence[_Machine], *, known: bool) -> set[int]:
    """Places of those that would do and that none beats in time (or speed) and cost at once."""
    drawn = sorted(
        (m.hours if known else -(m.speed or 0), m.usd, place)
        for place, m in enumerate(machines)
        if m.verdict == FITS and m.usd is not None and (m.hours if known else m.speed) is not None
    )
    best: Decimal | None = None
    front = set()
    for _, usd, place in drawn:
        if best is None or usd < best:
            best = usd
            front.add(place)
    return front


def _gpu(kind: Hardware | None) -> str | None:
    if kind is None:
        return None
    return "none" if kind.gpu is None else kind.gpu.model


def _p90_hours(quote: Quote | None) -> float | None:
    return None if quote is None or quote.duration_h is None else quote.duration_h.p90


def _p90_usd(quote: Quote | None) -> Decimal | None:
    return None if quote is None or quote.cost_usd is None else quote.cost_usd.p90


def _chance(quote: Quote | None) -> float | None:
    return None if quote is None else quote.deadline_probability


def _plain(value: float) -> str:
    return f"{value:,.4g}"


def _price(usd: Decimal) -> str:
    return f"{usd.normalize():f}"


def _hours(hours: float) -> str:
    return duration(hours * 3600)


def _percent(chance: float) -> str:
    return f"{min(chance, 0.999):.1%}" if chance > 0.99 else f"{chance:.0%}"


def _times(speed: float) -> str:
    return f"{speed:.2g}x" if speed < 100 else f"{speed:.0f}x"
