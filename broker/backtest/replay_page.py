"""Replayed jobs as one HTML page: what ran where, what was spent, and what slack was left."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlbroker.broker.backtest.replays import Replay
from mlbroker.broker.output import clean
from mlbroker.broker.report.page import page
from mlbroker.broker.report.parts import Chart, Part, Prose, Table
from mlbroker.broker.report.rows import Rows, rows_of
from mlbroker.broker.report.specs import Spec, tooltip
from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.replay import Trace

# Looks that are drawn of one job; a trace may have many thousands.
_MOST_MOMENTS = 600
_ROW = 26  # height of a place, in pixels
_ON_DEMAND = "on demand"
_KINDS = {"spot could be had": "--line", "on spot": "--series-3", _ON_DEMAND: "--series-2"}


def replay_page(trace: Trace, terms: Terms, replays: Sequence[Replay]) -> str:
    """One job from one start, under one policy or several; MlbrokerError as `page` says."""
    first = replays[0]
    title = f"{terms.work_h:g} h of work by a deadline of {terms.deadline_h:g} h"
    told = (
        f"The job starts {first.start * trace.tick_h:.4g} h into the trace. The least that anybody"
        f" could have paid who knew it is {first.least_usd:.2f} USD, and"
        f" {first.least_in_shell_usd:.2f} USD who was sure of the deadline all the same; on demand"
        f" asks {terms.on_demand_usd_per_h:g} USD an hour."
    )
    moments = _moments(replays)
    parts: list[Part] = [
        Prose(told, strong=True),
        Table("The policies", _outcomes(replays)),
        _curve("What was spent", "usd", "USD", moments, terms),
        _curve("Slack that was left", "slack", "hours", moments, terms),
        *(_places(trace, terms, each) for each in replays),
    ]
    return page(title, parts)


def _outcomes(replays: Sequence[Replay]) -> Rows:
    records = [
        {
            "policy": each.policy,
            "usd": each.result.cost_usd,
            "ratio": each.result.cost_usd / each.least_usd,
            "finished": each.result.finished_h,
            "in_time": "yes" if each.in_time else "no",
            "restarts": each.result.restarts,
        }
        for each in replays
    ]
    return rows_of(records, {
        "policy": "Policy", "usd": ("Cost USD", "{:.2f}".format),
        "ratio": ("Times the least", "{:.2f}".format), "finished": ("Done after", _hours),
        "in_time": "In time", "restarts": ("Restarts", str),
    })  # fmt: skip


def _moments(replays: Sequence[Replay]) -> Rows:
    records: list[Mapping[str, Any]] = []
    for each in replays:
        moments = each.result.moments
        stride = -(-len(moments) // _MOST_MOMENTS)
        kept = [*moments[:-1:stride], moments[-1]]
        records += [
            {"policy": each.policy, "at": m.at_h, "usd": m.spent_usd, "slack": max(m.slack_h, 0.0)}
            for m in kept
        ]
    return rows_of(records, {
        "policy": "Policy", "at": ("At", _hours), "usd": ("Spent USD", "{:.2f}".format),
        "slack": ("Slack", _hours),
    })  # fmt: skip


def _curve(title: str, name: str, unit: str, rows: Rows, terms: Terms) -> Chart:
    spec: Spec = {
        "height": 220,
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {
            "x": _time("at", terms),
            "y": {"field": name, "type": "quantitative", "title": unit},
            "color": {"field": "policy", "type": "nominal", "title": None, "sort": None},
            "tooltip": tooltip(rows, ("policy", "at", "usd", "slack")),
        },
    }
    last = dict(zip(rows.column("policy").texts(), rows.column(name).texts(), strict=True))
    ends = ", ".join(f"{policy} {text}" for policy, text in last.items())
    return Chart(title, spec, rows, f"By hours from the job's start. In the end: {ends}.")


def _places(trace: Trace, terms: Terms, replay: Replay) -> Chart:
    """A bar for each time on a machine, above bars for when a zone had any."""
    rows = rows_of(_bars(trace, terms, replay), {
        "place": "Place", "kind": "What", "begin": ("From", _hours), "end": ("To", _hours),
    })  # fmt: skip
    places = [*map(clean, trace.zones), _ON_DEMAND]
    spec: Spec = {
        "height": _ROW * len(places),
        "mark": {"type": "bar"},
        "encoding": {
            "y": {"field": "place", "type": "nominal", "title": None, "scale": {"domain": places}},
            "x": _time("begin", terms),
            "x2": {"field": "end"},
            "color": {
                "field": "kind",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(_KINDS), "range": list(_KINDS.values())},
            },
            "tooltip": tooltip(rows, ("place", "kind", "begin", "end")),
        },
    }
    told = replay.result
    done = "not done" if told.finished_h is None else f"done after {told.finished_h:.2f} h"
    words = (
        f"{told.cost_usd:.2f} USD, {told.cost_usd / replay.least_usd:.2f} times the least possible,"
        f" {done}, {told.restarts} restarts. A bar is the time on a machine, its start included."
    )
    return Chart(replay.policy, spec, rows, words)


def _bars(trace: Trace, terms: Terms, replay: Replay) -> Iterable[Mapping[str, Any]]:
    """When spot could be had first: what is drawn later lies above it."""
    kinds = list(_KINDS)
    ticks = int(terms.deadline_h / trace.tick_h)
    for zone, name in enumerate(trace.zones):
        up = trace.up[replay.start : replay.start + ticks, zone]
        for begin, end in _spans(up.tolist()):
            yield _bar(name, kinds[0], begin * trace.tick_h, end * trace.tick_h)
    for stretch in replay.result.stretches:
        on_spot = stretch.place >= 0
        name = trace.zones[stretch.place] if on_spot else _ON_DEMAND
        yield _bar(name, kinds[1] if on_spot else kinds[2], stretch.begin_h, stretch.end_h)


def _bar(place: str, kind: str, begin_h: float, end_h: float) -> Mapping[str, Any]:
    return {"place": place, "kind": kind, "begin": begin_h, "end": end_h}


def _time(name: str, terms: Terms) -> Spec:
    """The axis from the job's start to its deadline, where every chart ends."""
    scale = {"domain": [0, terms.deadline_h], "nice": False}
    title = "hours from the job's start to its deadline"
    return {"field": name, "type": "quantitative", "title": title, "scale": scale}


def _spans(up: Sequence[bool]) -> list[tuple[int, int]]:
    """Where it is true: first tick, and the one after the last."""
    edges = [at for at in range(len(up) + 1) if _at(up, at) != _at(up, at - 1)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at(up: Sequence[bool], at: int) -> bool:
    return 0 <= at < len(up) and up[at]


def _hours(hours: float) -> str:
    return f"{hours:.2f} h"
