"""A pipeline's plan as a page: when each stage runs, on which machine, and for how much."""

from datetime import datetime
from decimal import Decimal

from mlbroker.broker.choice_words import prices_words
from mlbroker.broker.pipeline_words import proof_words, title, total_words, traffic_words, ways_out
from mlbroker.broker.report.page import page
from mlbroker.broker.report.parts import Chart, KeyFigure, KeyFigures, Notes, Part, Prose, Table
from mlbroker.broker.report.rows import Rows, rows_of
from mlbroker.broker.report.specs import Spec, axis, tooltip
from mlbroker.broker.words import duration, mass, money
from mlbroker.policies.pipeline.planning import Planned
from mlbroker.pricing.book import Snapshot
from mlbroker.profiles.job import Job

# A bar and the room around it, in pixels; less where there are many.
_BAR, _CROWDED_BAR, _CROWD = 30, 14, 40
_UNITS = ((5400, "minutes", 60), (4 * 86400, "hours", 3600), (float("inf"), "days", 86400))
_TIP = ("stage", "machine", "place", "market", "start", "takes", "usd", "slack", "needs", "on")


def pipeline_page(limits: Job, plan: Planned, made: datetime, snapshot: Snapshot) -> str:
    """The page. MlbrokerError where it has a chart and the chart library was not built."""
    parts: list[Part] = []
    if plan.table is None:
        texts = ["Nothing chosen: no choice of machines keeps the limits."]
        parts.append(Prose([*texts, *(f"{way}." for way in ways_out(plan.solution))], strong=True))
    else:
        names = [stage.name for stage in plan.problem.stages]
        path = " → ".join(names[number] for number in plan.table.critical)
        rows = _rows(plan)
        parts += [
            Prose(total_words(limits, plan), strong=True),
            _key_figures(limits, plan),
            Prose(f"The longest path, which sets the duration: {path}."),
            _gantt(plan, rows, path),
            Table("Stages", rows, [*_TIP, "traffic", "carbon"]),
        ]
        sent = traffic_words(plan)
        if sent:
            parts.append(Prose(sent, "Traffic"))
    parts.append(_notes(plan, made, snapshot))
    return page(title(limits, plan), parts)


def _key_figures(limits: Job, plan: Planned) -> KeyFigures:
    selection = plan.solution.selection
    assert selection is not None
    sure = f"{limits.confidence * 100:.4g}% sure within {duration(selection.sure_s, least=True)}"
    most = money(Decimal(str(round(selection.p90_usd, 6))))
    figures = [
        KeyFigure("Cost", f"{money(plan.cost_usd)} USD", f"in nine of ten at most {most}"),
        KeyFigure("Time", duration(selection.duration_s), sure),
    ]
    if selection.chance is not None:
        asked = f"{limits.confidence * 100:.4g}% asked for"
        figures.append(KeyFigure("In time", f"{min(selection.chance, 0.999):.1%}", asked))
    kg = plan.carbon_kgco2e
    return KeyFigures([*figures, KeyFigure("Carbon", "unknown" if kg is None else mass(kg))])


def _unit(plan: Planned) -> tuple[str, int]:
    whole = max(stage.end_s for stage in plan.chosen)
    return next((name, seconds) for most, name, seconds in _UNITS if whole <= most)


def _rows(plan: Planned) -> Rows:
    """One for each stage, in the order of their starts."""
    assert plan.table is not None
    names = [stage.name for stage in plan.problem.stages]
    unit_s = _unit(plan)[1]
    records = []
    for number in sorted(range(len(names)), key=lambda n: (plan.chosen[n].start_s, n)):
        stage = plan.chosen[number]
        quote, critical = stage.quote, number in plan.table.critical
        nodes = f"{quote.nodes} " if quote.nodes > 1 else ""
        records.append(
            {
                "stage": names[number],
                "machine": f"{nodes}{quote.instance_type}",
                "place": f"{quote.cloud} {quote.region}",
                "market": quote.market.replace("_", "-"),
                "path": "longest path" if critical else "has slack",
                "start": stage.start_s / unit_s,
                "end": stage.end_s / unit_s,
                "late": (stage.end_s + stage.slack_s) / unit_s,
                "takes": (stage.end_s - stage.start_s) / unit_s,
                "slack": stage.slack_s / unit_s,
                "usd": stage.cost_usd,
                "traffic": stage.transfer_usd,
                "carbon": quote.carbon_kgco2e,
                "needs": ", ".join(names[n] for n in plan.problem.stages[number].needs) or "-",
                "on": "-" if stage.reuses is None else f"the machine of {names[stage.reuses]}",
                "said": f"{nodes}{quote.instance_type}, {money(stage.cost_usd)} USD",
            }
        )

    def shown(units: float) -> str:
        return duration(units * unit_s)

    heads = {
        "stage": "Stage", "machine": "Machine", "place": "Place", "market": "Market",
        "path": "Path", "start": ("Starts", shown), "end": ("Ends", shown),
        "late": ("Latest end", shown), "takes": ("Takes", shown), "slack": ("Slack", shown),
        "usd": ("USD", money), "traffic": ("of it traffic, USD", money),
        "carbon": ("Carbon", mass), "needs": "Waits for", "on": "Goes on with", "said": "Said",
    }  # fmt: skip
    return rows_of(records, heads)


def _gantt(plan: Planned, rows: Rows, path: str) -> Chart:
    """A bar for each stage, its slack thin behind it, and the deadline as a line."""
    unit, unit_s = _unit(plan)
    deadline_s, crowded = plan.problem.deadline_s, len(rows) > _CROWD
    ends = [stage.end_s / unit_s for stage in plan.chosen]
    # A deadline far behind the last end would squeeze the bars: it is said, not drawn.
    near = deadline_s is not None and deadline_s / unit_s <= 5 * max(ends)
    whole = [0.0, *ends, *([deadline_s / unit_s] if near and deadline_s is not None else [])]
    along = axis("start", f"{unit} from the start (expected)", [0.0]) | {
        "scale": {"domain": [0, max(whole) * 1.02], "nice": False}
    }
    colour = {
        "field": "path", "type": "nominal", "title": None,
        "scale": {"domain": ["longest path", "has slack"], "range": ["--accent", "--series-8"]},
    }  # fmt: skip
    band = {"field": "stage", "type": "nominal", "title": None, "sort": None,
            "axis": {"labelLimit": 220}}  # fmt: skip
    said = tooltip(rows, _TIP)
    layers: list[Spec] = [
        {"mark": {"type": "bar", "height": {"band": 0.18}, "color": "--pale"},
         "encoding": {"x": along | {"field": "end"}, "x2": {"field": "late"}}},
        {"mark": {"type": "bar", "height": {"band": 0.7}, "cornerRadius": 3},
         "encoding": {"x": along, "x2": {"field": "end"}, "color": colour, "tooltip": said}},
    ]  # fmt: skip
    if not crowded:
        halo = {"stroke": "--paper", "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85}
        for side in ("left", "right"):
            early = side == "left"
            test = f"datum.end {'<=' if early else '>'} {max(whole) * 0.55:.6g}"
            words = {"type": "text", "align": side, "dx": 6 if early else -6, "fontSize": 12}
            at = along | {"field": "end" if early else "start"}
            for look in (halo, {"color": "--ink"}):
                layers.append(
                    {"transform": [{"filter": test}], "mark": words | look,
                     "encoding": {"x": at, "text": {"field": "said"}}}
                )  # fmt: skip
    if near and deadline_s is not None:
        data = {"values": [{"start": deadline_s / unit_s,
                            "text": f"deadline {duration(deadline_s)}"}]}  # fmt: skip
        place = {"x": along, "y": {"value": 0}}
        layers += [
            {"data": data, "mark": {"type": "rule", "strokeDash": [5, 4], "color": "--bad"},
             "encoding": {"x": along}},
            {"data": data, "mark": {"type": "text", "color": "--bad", "fontSize": 12,
                                    "align": "right", "baseline": "bottom", "dy": -3},
             "encoding": place | {"text": {"field": "text"}}},
        ]  # fmt: skip
    bar = _CROWDED_BAR if crowded else _BAR
    for layer in layers:
        if "data" not in layer:
            layer["encoding"] = {"y": band, **layer["encoding"]}
    spec: Spec = {"height": bar * len(rows), "layer": layers}
    text = (
        f"Each bar is a stage from its expected start to its end; the thin line behind it is its"
        f" slack, by which it may be late. The longest path is {path}."
    )
    if deadline_s is not None:
        text += f" The deadline is {duration(deadline_s)} after the start."
    return Chart("When each stage runs", spec, rows, text)


def _notes(plan: Planned, made: datetime, snapshot: Snapshot) -> Notes:
    notes = [
        ("Times", "expected, from the pipeline's start; set-up of machines and traffic included"),
        ("Slack", "how much later a stage could end before the whole would"),
        ("Choice", proof_words(plan)),
        ("Made", f"{made:%Y-%m-%d %H:%M} UTC by mlbroker. {prices_words(snapshot)}."),
    ]
    return Notes(notes, "Notes")
