"""The charts of a study's page: the best so far, the points it tried, how far trials came."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlbroker.broker.output import clean
from mlbroker.broker.report.parts import Chart
from mlbroker.broker.report.rows import Figures, Rows, Words
from mlbroker.broker.report.specs import Spec, tooltip
from mlbroker.broker.tuning.importance import Importance
from mlbroker.broker.tuning.record import StudyState, TrialRecord
from mlbroker.broker.words import count, figure, span
from mlbroker.policies.tuning.interface import FAILED
from mlbroker.profiles.search_space import Choice, Range, Value, as_text

# Lines that are drawn: of the best trials.
MOST_LINES = 300


def best_chart(told: Mapping[str, Any], usd_per_s: float | None) -> Chart | None:
    """The best so far against what was spent: money, where it is known, else time."""
    curve = told["curve"]
    if not curve:
        return None
    ends = {"spent_s": told["spent_s"], "metric": curve[-1]["metric"]}
    points = [*curve, ends]
    seconds = Figures("spent_s", "work", [at["spent_s"] for at in points], span)
    metric = Figures("metric", told["metric"], [at["metric"] for at in points], figure)
    columns = [seconds, metric]
    if usd_per_s is not None:
        usd = [at["spent_s"] * usd_per_s for at in points]
        columns.insert(0, Figures("usd", "USD", usd, lambda dollars: f"{dollars:.4g}"))
    rows = Rows(columns)
    line: Spec = {"type": "line", "interpolate": "step-after", "color": "--accent", "point": True}
    y = {"field": "metric", "type": "quantitative", "title": None, "scale": {"zero": False}}
    shown = tooltip(rows, [column.name for column in columns])

    def against(field: str, head: str) -> Spec:
        along = {"field": field, "type": "quantitative", "title": head}
        return {"mark": line, "encoding": {"x": along, "y": y, "tooltip": shown}}

    layers = [against("spent_s", "seconds of work")]
    if usd_per_s is not None:
        above = {"field": "usd", "type": "quantitative", "axis": {"orient": "top", "title": "USD"}}
        layers.append({"mark": {"type": "point", "opacity": 0}, "encoding": {"x": above, "y": y}})
    spec: Spec = {"height": 260, "layer": layers, "resolve": {"scale": {"x": "independent"}}}
    first, last = curve[0], curve[-1]
    said = (
        f"{told['metric']} from {figure(first['metric'])} after {span(first['spent_s'])} to "
        f"{figure(last['metric'])} after {span(last['spent_s'])} of {span(told['spent_s'])}."
    )
    return Chart(f"Best {told['metric']} against cost and time", spec, rows, said)


def points_chart(told: Mapping[str, Any], found: StudyState) -> Chart | None:
    """A line a trial through its variables, to its metric."""
    scored = [(each.trial.score, number) for number, each in enumerate(found.trials)]
    drawn = sorted((each for each in scored if each[0] > FAILED), reverse=True)[:MOST_LINES]
    if len(drawn) < 2:
        return None
    rows = _lines(told["metric"], found, drawn)
    last = len(found.study.space)
    along: Spec = {"type": "quantitative", "field": "axis", "title": None, "axis": None,
                   "scale": {"domain": [0, last], "nice": False, "padding": 28}}  # fmt: skip
    y: Spec = {"field": "share", "type": "quantitative", "title": None, "axis": None,
               "scale": {"domain": [0, 1], "nice": False}}  # fmt: skip
    colour: Spec = {"field": "better", "type": "quantitative", "legend": None,
                    "scale": {"domain": [0, 1], "range": ["--line", "--accent"]}}  # fmt: skip
    ends = {"values": list(_ends(told["metric"], found, drawn[-1][0], drawn[0][0]))}
    words: Spec = {"type": "text", "fontSize": 11, "color": "--soft"}
    layers: list[Spec] = [
        {"data": ends, "mark": {"type": "rule", "color": "--soft"}, "encoding": {"x": along}},
        {
            "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.8},
            "encoding": {"x": along, "y": y, "color": colour, "detail": {"field": "trial"},
                         "order": {"field": "axis"},
                         "tooltip": tooltip(rows, ("trial", "variable", "value"))},
        },
        *(
            {"data": ends, "mark": words | {"baseline": baseline, "dy": down},
             "encoding": {"x": along, "y": {"value": place}, "text": {"field": field}}}
            for field, baseline, place, down in (
                ("name", "bottom", 0, -22), ("top", "bottom", 0, -7), ("low", "top", "height", 8)
            )
        ),
    ]  # fmt: skip
    room = {"top": 44, "bottom": 24, "left": 5, "right": 5}
    left_out = len(found.trials) - len(drawn)
    said = f"{count(len(drawn), 'trial')}, the better the stronger the colour."
    if left_out:
        said += f" {count(left_out, 'trial')} left out: without a number, or not among the best."
    return Chart("What was tried", {"height": 320, "padding": room, "layer": layers}, rows, said)


def _lines(metric: str, found: StudyState, drawn: Sequence[tuple[float, int]]) -> Rows:
    """Where each of the trials, best first, crosses each axis."""
    ends = sorted(map(found.study.as_told, (drawn[0][0], drawn[-1][0])))
    records: list[tuple[int, int, str, float, float, str]] = []
    # The best last, above the others.
    for place, (score, number) in reversed(list(enumerate(drawn))):
        better = 1 - place / (len(drawn) - 1)
        point = found.trials[number].point
        for at, (name, part) in enumerate(found.study.space.items()):
            share = share_of(part, point[name])
            records.append((number, at, name, better, share, short(point[name])))
        told = found.study.as_told(score)
        share = (told - ends[0]) / (ends[1] - ends[0]) if ends[0] < ends[1] else 0.5
        at = len(found.study.space)
        records.append((number, at, metric, better, share, figure(told)))
    trials, ats, names, betters, shares, texts = zip(*records, strict=True)
    return Rows(
        [
            Figures("trial", "trial", trials, str),
            Figures("axis", "axis", ats, str),
            Words("variable", "variable", names),
            Words("value", "value", texts),
            Figures("share", "along the axis", shares, figure),
            Figures("better", "better than", betters, lambda part: f"{part:.0%}"),
        ]
    )


def _ends(metric: str, found: StudyState, worst: float, best: float) -> Iterator[Spec]:
    """The names of the axes, and what stands at both ends."""
    for at, (name, part) in enumerate(found.study.space.items()):
        if isinstance(part, Choice):
            low, top = short(part.values[0]), short(part.values[-1])
        else:
            low, top = figure(part.low), figure(part.high)
        yield {"axis": at, "name": name, "low": clean(low), "top": clean(top)}
    ends = sorted(map(found.study.as_told, (worst, best)))
    at = len(found.study.space)
    yield {"axis": at, "name": metric, "low": figure(ends[0]), "top": figure(ends[1])}


def rungs_chart(told: Mapping[str, Any]) -> Chart | None:
    """How many trials came how far."""
    reached = {int(step): number for step, number in told["reached"].items()}
    if not reached:
        return None
    steps = sorted(reached)
    rows = Rows(
        [
            Words("step", told["resource"], [str(step) for step in steps]),
            Figures("trials", "trials that ended or wait there", [reached[s] for s in steps], str),
        ]
    )
    spec: Spec = {
        "height": 180,
        "mark": {"type": "bar", "color": "--accent"},
        "encoding": {
            "x": {"field": "step", "type": "nominal", "sort": None, "title": told["resource"],
                  "axis": {"labelAngle": 0}},
            "y": {"field": "trials", "type": "quantitative", "title": "trials"},
            "tooltip": tooltip(rows, ("step", "trials")),
        },
    }  # fmt: skip
    whole = reached.get(told["most"], 0)
    said = f"{count(sum(reached.values()), 'trial')}, of which {whole} whole ({told['most']})."
    return Chart("Trials by rung", spec, rows, said)


def importance_chart(told: Mapping[str, Any], found: Importance) -> Chart:
    """The shares of the variables."""
    names = sorted(found.shares, key=lambda name: -found.shares[name])
    shares = [found.shares[name] for name in names]
    rows = Rows(
        [
            Words("variable", "variable", names),
            Figures("share", "importance", shares, lambda part: f"{part:.0%}"),
        ]
    )
    spec: Spec = {
        "height": 26 * len(names) + 20,
        "mark": {"type": "bar", "color": "--accent"},
        "encoding": {
            "y": {"field": "variable", "type": "nominal", "sort": None, "title": None},
            "x": {"field": "share", "type": "quantitative", "title": "share",
                  "axis": {"format": "%"}},
            "tooltip": tooltip(rows, ("variable", "share")),
        },
    }  # fmt: skip
    said = (
        f"What sets the best apart, by Optuna's PED-ANOVA, of {count(found.trials, 'trial')} "
        f"after {count(found.step, told['resource'])}: most, {names[0]}."
    )
    return Chart("Which variables matter", spec, rows, said)


def share_of(part: Range | Choice, value: Value) -> float:
    """Where on its axis a value stands, 0 to 1."""
    if isinstance(part, Choice):
        return part.values.index(str(value)) / max(len(part.values) - 1, 1)
    low, high, at = part.low, part.high, float(value)
    if part.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def trial_rows(told: Mapping[str, Any], found: StudyState, states: Sequence[str]) -> Rows:
    """All trials, for a table."""
    trials = found.trials

    def metric(each: TrialRecord) -> float | None:
        score = each.trial.score
        return None if score == FAILED else found.study.as_told(score)

    best = None if told["best"] is None else told["best"]["trial"]
    return Rows(
        [
            Figures("trial", "trial", list(range(len(trials))), str),
            Words("state", "state", states),
            Figures("metric", told["metric"], [metric(each) for each in trials], figure, "-"),
            Figures("reached", told["resource"], [each.trial.reached for each in trials], str),
            Figures("work", "work", [each.seconds for each in trials], span),
            Words("why", "why it failed", [each.failed for each in trials], "-"),
            *(
                Words(f"env_{at}", name, [short(each.point[name]) for each in trials])
                for at, name in enumerate(found.study.space)
            ),
        ],
        best,
    )


def short(value: Value) -> str:
    """A value of a variable, where there is little room."""
    text = figure(value) if isinstance(value, float) else as_text(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
