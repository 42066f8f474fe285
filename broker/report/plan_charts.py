"""The charts of a plan's page: cost against time, what the cost is made of, and step times."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mlbroker.broker.output import clean
from mlbroker.broker.report.parts import Chart
from mlbroker.broker.report.plan_rows import FITS, ON_FRONT
from mlbroker.broker.report.rows import Rows, rows_of
from mlbroker.broker.report.specs import Spec, axis, cloud_colour, numbers, share_along, tooltip
from mlbroker.broker.words import count, duration, money, span
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote

# From so many machines on, their dots are small.
_CROWD = 400
# Machine types whose step time is drawn.
_TYPES = 12
_KNOWN_TIP = ("type", "cloud", "region", "market", "gpu", "usd", "hours", "verdict", "why")
_HOURLY_TIP = ("type", "cloud", "region", "market", "gpu", "usd", "speed", "verdict", "why")


def field_chart(plan: Plan, rows: Rows) -> Chart | None:
    """Cost against time of every machine that has both; of a job never measured, what an hour costs
    against the speed on paper. None where nothing can be drawn.
    """
    x = "hours" if plan.known else "speed"
    drawn = numbers(rows, x)
    if not drawn:
        return None
    x_title = "hours from start to end (median)" if plan.known else "speed by data sheet"
    y_title = "USD a run" if plan.known else "USD an hour"
    places: Spec = {
        "x": axis(x, x_title, drawn),
        "y": axis("usd", y_title, numbers(rows, "usd"), usd=True),
    }
    markets = {"domain": ["on-demand", "spot"], "range": ["circle", "triangle-up"]}
    signs = {"symbolFillColor": "--soft", "symbolStrokeColor": "--soft", "symbolOpacity": 1}
    shape = {"field": "market", "type": "nominal", "title": "market", "scale": markets,
             "legend": signs}  # fmt: skip
    dots = places | {
        "shape": shape,
        "tooltip": tooltip(rows, _KNOWN_TIP if plan.known else _HOURLY_TIP),
    }
    both = f"isValid(datum.{x}) && isValid(datum.usd)"
    fits = f"datum.verdict === '{FITS}'"
    clouds = sorted(set(rows.column("cloud").texts()))
    size = 36 if len(drawn) > _CROWD else 70
    layers: list[Spec] = [
        {
            "transform": [{"filter": f"{both} && !({fits})"}],
            "mark": {"type": "point", "filled": True, "size": 0.7 * size, "opacity": 0.5},
            "encoding": dots | {"color": {"value": "--pale"}},
        },
        {
            "transform": [{"filter": f"{both} && datum.front === '{ON_FRONT}'"}],
            "mark": {"type": "line", "color": "--ink", "strokeWidth": 1.5,
                     "interpolate": "step-after" if plan.known else "step-before"},
            "encoding": places | {"order": {"field": x}},
        },
        {
            "transform": [{"filter": f"{both} && {fits}"}],
            "mark": {"type": "point", "filled": True, "size": size, "opacity": 0.7},
            "encoding": dots | {"color": cloud_colour(clouds)},
        },
        *(_limits(plan, places, drawn) if plan.known else ()),
        *_named(plan, places, x, drawn),
    ]  # fmt: skip
    return Chart(
        "Cost against time" if plan.known else "What an hour costs, against speed",
        {"height": 420, "layer": layers},
        rows,
        _field_words(plan, rows, x),
    )


def _limits(plan: Plan, places: Spec, hours: Sequence[float]) -> list[Spec]:
    """Deadline and budget as lines, named where there is room beside the machines' `hours`."""
    limits, made, early = plan.constraints, [], False
    dashed = {"type": "rule", "strokeDash": [5, 4], "color": "--bad"}
    words = {"type": "text", "color": "--bad", "fontSize": 12}
    if limits.deadline_s is not None:
        data = {"values": [{"hours": limits.deadline_s / 3600,
                            "text": f"deadline {duration(limits.deadline_s)}"}]}  # fmt: skip
        early = share_along(limits.deadline_s / 3600, hours) < 0.5
        along = {"angle": 270, "align": "right", "dx": -6, "dy": 4 if early else -4,
                 "baseline": "top" if early else "bottom"}  # fmt: skip
        made += [
            {"data": data, "mark": dashed, "encoding": {"x": places["x"]}},
            {"data": data, "mark": words | along,
             "encoding": {"x": places["x"], "y": {"value": 0}, "text": {"field": "text"}}},
        ]  # fmt: skip
    if limits.budget_usd is not None:
        data = {"values": [{"usd": float(limits.budget_usd),
                            "text": f"budget {limits.budget_usd:,} USD"}]}  # fmt: skip
        above = {"align": "right" if early else "left", "baseline": "bottom", "dy": -3,
                 "dx": -4 if early else 4}  # fmt: skip
        end = {"value": "width" if early else 0}
        made += [
            {"data": data, "mark": dashed, "encoding": {"y": places["y"]}},
            {"data": data, "mark": words | above,
             "encoding": {"y": places["y"], "x": end, "text": {"field": "text"}}},
        ]  # fmt: skip
    return made


def _named(plan: Plan, places: Spec, x: str, drawn: Sequence[float]) -> list[Spec]:
    """The choice and the usual machine, ringed and named, to the side where there is room."""
    layers: list[Spec] = []
    said = [{"field": "text", "title": "Machine"}, {"field": "usd_text", "title": "Cost"}]
    for quote, word, hue in (
        (plan.baseline, "usual", "--ink"),
        (plan.choice, "choice", "--accent"),
    ):
        at = None if quote is None else _place(quote)
        if quote is None or at is None:
            continue
        value = {
            x: at[0],
            "usd": float(at[1]),
            "usd_text": f"{money(at[1])} USD{'' if plan.known else ' an hour'}",
            "text": clean(f"{word}: {quote.instance_type}"),
        }
        right = share_along(at[0], drawn) < 0.5
        words = {"type": "text", "align": "left" if right else "right", "dx": 13 if right else -13,
                 "dy": 1, "fontSize": 13, "fontWeight": 600}  # fmt: skip
        # A halo of the paper's colour keeps the names readable among the dots.
        halo = {"stroke": "--paper", "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85}
        ring = {"type": "point", "size": 190, "strokeWidth": 2.5, "filled": False, "color": hue}
        text = places | {"text": {"field": "text"}}
        data = {"values": [value]}
        layers += [
            {"data": data, "mark": ring, "encoding": places | {"tooltip": said}},
            {"data": data, "mark": words | halo, "encoding": text},
            {"data": data, "mark": words | {"color": hue}, "encoding": text},
        ]
    return layers


def _place(quote: Quote) -> tuple[float, Decimal] | None:
    """Where it stands in the first chart: time, else speed, and cost, else cost an hour."""
    if quote.duration_h is not None and quote.cost_usd is not None:
        return quote.duration_h.p50, quote.cost_usd.expected
    return None if quote.relative_speed is None else (quote.relative_speed, quote.hourly_usd)


def _field_words(plan: Plan, rows: Rows, x: str) -> str:
    fits = sum(text == FITS for text in rows.column("verdict").texts())
    shown = zip(_numbers(rows, x), _numbers(rows, "usd"), strict=True)
    drawn = sum(None not in pair for pair in shown)
    text = (
        f"{count(drawn, 'machine')}, each a type in one market with its best region: {fits:,} would"
        f" do, and pale ones would not. Hover over one to see why."
    )
    if fits:
        text += " The line joins those that no other beats in both."
    choice = plan.choice
    if choice is not None:
        text += f" The choice is {choice.instance_type} in {choice.region}."
    return text


def _numbers(rows: Rows, name: str) -> list[float | None]:
    column: Any = rows.column(name)
    return list(column.numbers())


_PARTS = (
    ("machine time", "compute"),
    ("disk, address, bucket", "storage"),
    ("traffic", "network"),
    ("interruptions", "interruptions"),
)


def cost_chart(plan: Plan) -> Chart | None:
    """What the choice's cost is made of, beside the usual machine's; None where it is not known."""
    quotes = [
        (word, quote)
        for word, quote in (("choice", plan.choice), ("usual", plan.baseline))
        if quote is not None and quote.cost_usd is not None
    ]
    if not quotes or plan.choice is None:
        return None
    records: list[Mapping[str, Any]] = [
        {
            "who": f"{word}: {quote.instance_type}",
            "part": part,
            "usd": getattr(quote.cost_usd, field),
            "order": place,
        }
        for word, quote in quotes
        for place, (part, field) in enumerate(_PARTS)
    ]
    shown = ("Cost USD", money)
    rows = rows_of(
        records, {"who": "Machine", "part": "For", "usd": shown, "order": ("Order", str)}
    )
    names = [part for part, _ in _PARTS]
    hues = ["--series-1", "--series-5", "--series-3", "--series-2"]
    spec: Spec = {
        "height": 44 * len(quotes),
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "who", "type": "nominal", "title": None, "sort": None},
            "x": {"field": "usd", "type": "quantitative", "title": "USD a run (expected)",
                  "axis": {"format": "$,~r"}},
            "color": {"field": "part", "type": "nominal", "title": None,
                      "scale": {"domain": names, "range": hues}},
            "order": {"field": "order"},
            "tooltip": tooltip(rows, ("who", "part", "usd")),
        },
    }  # fmt: skip
    sums = [
        f"{word} {quote.instance_type} {money(quote.cost_usd.expected)} USD"
        for word, quote in quotes
        if quote.cost_usd is not None
    ]
    back = plan.choice.falls_back is not None
    also = " Interruptions include what is done on demand in the end." if back else ""
    return Chart("What the cost is made of", spec, rows, f"{'; '.join(sums)}.{also}")


def step_chart(plan: Plan) -> Chart | None:
    """Step times of the best types, with their intervals and what they rest on."""
    best: dict[tuple[str, str], Quote] = {}
    for quote in plan.quotes:
        if quote.step_time_s is not None and len(best) < _TYPES:
            best.setdefault((quote.cloud, quote.instance_type), quote)
    if not best:
        return None
    names = [name for _, name in best]
    in_steps = plan.constraints.steps > 1
    unit, unit_s = _unit([quote.step_time_s.p50 for quote in best.values() if quote.step_time_s])
    records = [
        {
            "type": name if names.count(name) == 1 else f"{name} ({cloud})",
            "cloud": cloud,
            **{name: seconds / unit_s for name, seconds in quote.step_time_s._asdict().items()},
            "basis": str(quote.basis),
            "why": quote.evidence,
        }
        for (cloud, name), quote in best.items()
        if quote.step_time_s is not None
    ]

    def shown(units: float) -> str:
        return span(units * unit_s)

    rows = rows_of(records, {
        "type": "Type", "cloud": "Cloud", "p10": ("10 % below", shown), "p50": ("Median", shown),
        "p90": ("90 % below", shown), "basis": "Basis", "why": "Rests on",
    })  # fmt: skip
    ends = numbers(rows, "p10") + numbers(rows, "p90")
    along = axis("p10", f"{unit} {'a step' if in_steps else 'for the whole work'}", ends)
    rests = {"field": "basis", "type": "nominal", "title": "time is"}
    said = tooltip(rows, ("type", "cloud", "p50", "p10", "p90", "basis", "why"))
    spec: Spec = {
        "height": 24 * len(best),
        "encoding": {
            "y": {"field": "type", "type": "nominal", "title": None, "sort": None},
            "color": rests,
            "tooltip": said,
        },
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.45},
             "encoding": {"x": along, "x2": {"field": "p90"}}},
            {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
             "encoding": {"x": along | {"field": "p50"}}},
        ],
    }  # fmt: skip
    what = "How long a step takes" if in_steps else "How long the work takes"
    return Chart(what, spec, rows, _step_words(list(best.values())))


def _unit(times_s: Sequence[float]) -> tuple[str, int]:
    """The unit that suits most of these times, and how many seconds it has."""
    usual_s = sorted(times_s)[len(times_s) // 2]
    return (
        ("seconds", 1) if usual_s < 90 else ("minutes", 60) if usual_s < 5400 else ("hours", 3600)
    )


def _step_words(best: Sequence[Quote]) -> str:
    bases = {
        "measured": "measured there",
        "predicted": "predicted from measurements on other machines",
        "datasheet": "scaled from another machine by data sheets",
        "stated": "as was said of the job, scaled by data sheets",
    }
    used = [
        f"{name}: {words}" for name, words in bases.items() if any(q.basis == name for q in best)
    ]
    return (
        f"The {count(len(best), 'type')} of the best quotes: median, and the interval that holds in"
        f" eight cases of ten. {'; '.join(used)}."
    )
